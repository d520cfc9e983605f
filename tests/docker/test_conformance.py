"""Parity: the same requests get the same replies from every engine, and leave the same rows behind.

Each engine has a fresh Kamailio and a fresh database on one MySQL. All conversations are held once an engine, in the
order of this file, since bindings of one are what the next one meets; then Kamailio ends, which writes its bindings,
and the tables are read.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from lab import latency
from lab.database import name_of
from lab.versions import ROOT
from tests.docker.conftest import Bench, MySql, ask
from tests.docker.phone import DOMAIN, Datagram, Phone, credentials, open_in, reply, request

ENGINES = ("native", "lua", "python3")
HOME = f"sip:{DOMAIN}"
FOREIGNER = "sip:somebody@example.com"
CALLER = "<sip:test0@127.0.0.1:5070>"
CALLEE = "<sip:test7@127.0.0.1:5072>"
CALLEE_NATED = "<sip:test7@192.168.1.7:5099>"
TRUSTED = "127.0.0.8"

# Tables that conversations leave rows in, and how many.
TABLES = {"location": 3, "acc": 8, "missed_calls": 2}
# What differs between two runs of one engine, too.
CHANCE = frozenset({"id", "ruid", "time", "last_modified", "expires"})

Talk = Callable[[Phone, str], list[Datagram]]


@dataclass(frozen=True)
class Case:
    """A conversation, and the first lines of what comes of it, in order."""

    name: str
    talk: Talk
    expected: tuple[str, ...]


CASES: list[Case] = []


def case(*expected: str) -> Callable[[Talk], Talk]:
    """Put a conversation into the table."""

    def register(talk: Talk) -> Talk:
        CASES.append(Case(talk.__name__, talk, expected))
        return talk

    return register


def register(
    phone: Phone,
    call: str,
    user: str,
    *headers: str,
    password: str = "",
    as_user: str = "",
    at: str = "caller",
    via: str = "127.0.0.1:5070",
) -> list[Datagram]:
    """A whole registration: challenged, then with credentials."""
    sender = f"sip:{user}@{DOMAIN}"
    first = phone.send(request("REGISTER", HOME, call, sender=sender, via=via, headers=headers), at=at)
    proof = credentials(first[0], "REGISTER", HOME, as_user or user, password or as_user or user)
    second = request("REGISTER", HOME, call, cseq=2, sender=sender, via=via, headers=(*headers, proof))
    return first + phone.send(second, at=at)


def challenged(phone: Phone, call: str, method: str, uri: str, *headers: str) -> list[Datagram]:
    """A request of test0, challenged and then with credentials."""
    first = phone.send(request(method, uri, call, to=uri, headers=headers))
    proof = credentials(first[0], method, uri, "test0", "test0")
    return first + phone.send(request(method, uri, call, cseq=2, to=uri, headers=(*headers, proof)))


# --- registration ---------------------------------------------------------------------------------------------------


@case("401 Unauthorized")
def register_without_credentials(phone: Phone, call: str) -> list[Datagram]:
    """The challenge leg."""
    return phone.send(request("REGISTER", HOME, call, headers=(f"Contact: {CALLER}", "Expires: 3600")))


@case("401 Unauthorized", "200 OK")
def register_with_digest(phone: Phone, call: str) -> list[Datagram]:
    """Both legs."""
    return register(phone, call, "test0", f"Contact: {CALLER}", "Expires: 3600")


@case("401 Unauthorized", "200 OK")
def register_again(phone: Phone, call: str) -> list[Datagram]:
    """A refresh: the binding stays one."""
    return register(phone, call, "test0", f"Contact: {CALLER}", "Expires: 3600")


@case("401 Unauthorized", "401 Unauthorized")
def register_with_a_wrong_password(phone: Phone, call: str) -> list[Datagram]:
    """Challenged again."""
    return register(phone, call, "test1", "Contact: <sip:test1@127.0.0.1:5070>", password="wrong")  # noqa: S106


@case("401 Unauthorized", "401 Unauthorized")
def register_an_unknown_user(phone: Phone, call: str) -> list[Datagram]:
    """Likewise: nobody learns which users exist."""
    return register(phone, call, "nobody", "Contact: <sip:nobody@127.0.0.1:5070>")


@case("401 Unauthorized", "401 Unauthorized")
def register_somebody_else(phone: Phone, call: str) -> list[Datagram]:
    """Credentials of another user are no good."""
    return register(phone, call, "test2", "Contact: <sip:test2@127.0.0.1:5070>", as_user="test3")


@case("401 Unauthorized")
def register_with_broken_credentials(phone: Phone, call: str) -> list[Datagram]:
    """Half a header is none."""
    return phone.send(request("REGISTER", HOME, call, headers=('Authorization: Digest username="test0"',)))


@case("401 Unauthorized", "200 OK")
def register_from_behind_nat(phone: Phone, call: str) -> list[Datagram]:
    """The source address is kept beside the contact."""
    contact = "Contact: <sip:test3@192.168.1.7:5099>"
    return register(phone, call, "test3", contact, "Expires: 3600", via="192.168.1.7:5099")


@case("401 Unauthorized", "200 OK")
def ask_for_the_bindings(phone: Phone, call: str) -> list[Datagram]:
    """A REGISTER without a Contact is a question."""
    return register(phone, call, "test0")


@case("401 Unauthorized", "200 OK")
def unregister(phone: Phone, call: str) -> list[Datagram]:
    """Expires 0 removes the binding."""
    contact = "Contact: <sip:test3@192.168.1.7:5099>"
    return register(phone, call, "test3", contact, "Expires: 0", via="192.168.1.7:5099")


@case("401 Unauthorized", "400 Bad Request")
def register_a_star_that_stays(phone: Phone, call: str) -> list[Datagram]:
    """'*' goes only with Expires 0: the registrar refuses, and no second reply follows."""
    return register(phone, call, "test0", "Contact: *", "Expires: 3600")


# --- what is answered before routing --------------------------------------------------------------------------------


@case("200 Keepalive")
def keepalive(phone: Phone, call: str) -> list[Datagram]:
    """OPTIONS to Kamailio itself: the reply carries the engine's marker."""
    return phone.send(request("OPTIONS", HOME, call))


@case("200 OK")
def scanner(phone: Phone, call: str) -> list[Datagram]:
    """A known scanner gets an answer that leads nowhere."""
    return phone.send(request("INVITE", "sip:test0@127.0.0.1", call, headers=("User-Agent: sipcli/v1.8",)))


@case("200 OK")
def scanner_in_capitals(phone: Phone, call: str) -> list[Datagram]:
    """Its name is known in any case."""
    return phone.send(request("REGISTER", HOME, call, headers=("User-Agent: Friendly-Scanner",)))


@case("200 Keepalive")
def friendly_but_no_scanner(phone: Phone, call: str) -> list[Datagram]:
    """The hyphen in the scanner's name means a hyphen."""
    return phone.send(request("OPTIONS", HOME, call, headers=("User-Agent: phone/1.0 (friendlyscanner)",)))


@case("483 Too Many Hops")
def no_hop_left(phone: Phone, call: str) -> list[Datagram]:
    """Max-Forwards 0."""
    return phone.send(request("REGISTER", HOME, call, max_forwards=0))


@case("400 Ivalid To Header")
def malformed_to(phone: Phone, call: str) -> list[Datagram]:
    """The sanity check answers (the spelling is Kamailio's)."""
    return phone.send(request("INVITE", "sip:test0@127.0.0.1", call, to="nonsense:::"))


@case("400 CSeq method does not match request method")
def malformed_cseq(phone: Phone, call: str) -> list[Datagram]:
    """Likewise."""
    text = request("INVITE", "sip:test0@127.0.0.1", call)
    return phone.send(text.replace("CSeq: 1 INVITE", "CSeq: 1 BYE"))


@case("400 Bad Request URI")
def malformed_uri(phone: Phone, call: str) -> list[Datagram]:
    """Likewise."""
    return phone.send(request("INVITE", "http://127.0.0.1", call))


@case()
def not_sip(phone: Phone, _call: str) -> list[Datagram]:
    """What is no SIP has no answer."""
    return phone.send("hello\r\n\r\n")


# --- outside of dialogs ---------------------------------------------------------------------------------------------


@case("407 Proxy Authentication Required")
def invite_without_credentials(phone: Phone, call: str) -> list[Datagram]:
    """A local user has to prove who it is."""
    return phone.send(request("INVITE", "sip:test5@127.0.0.1", call, to="sip:test5@127.0.0.1"))


@case("403 Not relaying")
def relay_attempt(phone: Phone, call: str) -> list[Datagram]:
    """Neither from here nor to here."""
    return phone.send(request("INVITE", "sip:x@192.0.2.1", call, sender=FOREIGNER, to="sip:x@192.0.2.1"))


@case("484 Address Incomplete")
def no_user(phone: Phone, call: str) -> list[Datagram]:
    """To this domain, but to nobody."""
    return phone.send(request("INVITE", HOME, call, sender=FOREIGNER, to=HOME))


@case("407 Proxy Authentication Required", "484 Address Incomplete")
def no_user_authenticated(phone: Phone, call: str) -> list[Datagram]:
    """The same from a local user."""
    return challenged(phone, call, "MESSAGE", HOME)


@case("404 Not Found")
def offline_user(phone: Phone, call: str) -> list[Datagram]:
    """A subscriber without a binding."""
    return phone.send(request("OPTIONS", "sip:test9@127.0.0.1", call, sender=FOREIGNER, to="sip:test9@127.0.0.1"))


@case("404 Not Found")
def subscribe_to_offline_user(phone: Phone, call: str) -> list[Datagram]:
    """Record-routed, and found nowhere."""
    to = "sip:test5@127.0.0.1"
    return phone.send(request("SUBSCRIBE", to, call, sender=FOREIGNER, to=to, headers=("Event: presence",)))


@case("404 Not Found")
def invite_offline_user(phone: Phone, call: str) -> list[Datagram]:
    """The caller's ACK ends the transaction, and is not answered."""
    to = "sip:test5@127.0.0.1"
    invite = request("INVITE", to, call, sender=FOREIGNER, to=to, headers=(f"Contact: {CALLER}",))
    final = phone.send(invite)
    return final + phone.send(_ack_of_refusal(call, 1, to, final[-1], sender=FOREIGNER))


@case("404 Not Found")
def invite_offline_user_twice(phone: Phone, call: str) -> list[Datagram]:
    """A retransmission is answered by its transaction: the same reply, to the tag."""
    to = "sip:test6@127.0.0.1"
    invite = request("INVITE", to, call, sender=FOREIGNER, to=to)
    final = phone.send(invite, invite)
    return final + phone.send(_ack_of_refusal(call, 1, to, final[-1], sender=FOREIGNER))


@case("401 Unauthorized", "200 OK", "405 Method Not Allowed")
def method_that_a_contact_does_not_take(phone: Phone, call: str) -> list[Datagram]:
    """A binding says which methods it takes."""
    registered = register(phone, f"{call}-register", "test8", 'Contact: <sip:test8@127.0.0.1:5074>;methods="INVITE"')
    to = "sip:test8@127.0.0.1"
    return registered + phone.send(request("MESSAGE", to, call, sender=FOREIGNER, to=to))


@case("407 Proxy Authentication Required", "PUBLISH sip:test0@127.0.0.1:5070", "200 OK")
def publish(phone: Phone, call: str) -> list[Datagram]:
    """The one method besides REGISTER that keeps its credentials on the way."""
    seen = challenged(phone, call, "PUBLISH", "sip:test0@127.0.0.1", "Event: presence")
    return seen + phone.send(reply(seen[-1], 200, "OK"))


@case("407 Proxy Authentication Required", "MESSAGE sip:y@127.0.0.1:5074", "202 Accepted")
def message_to_another_domain(phone: Phone, call: str) -> list[Datagram]:
    """Preloaded routes are dropped, and a hint is added."""
    seen = challenged(phone, call, "MESSAGE", "sip:y@127.0.0.1:5074", "Route: <sip:127.0.0.1;lr>, <sip:192.0.2.9;lr>")
    return seen + phone.send(reply(seen[-1], 202, "Accepted"), at="elsewhere")


# --- without a dialog or transaction that they belong to ------------------------------------------------------------


@case("404 Not here")
def bye_of_no_dialog(phone: Phone, call: str) -> list[Datagram]:
    """It has a tag, but no route."""
    return phone.send(request("BYE", "sip:test0@127.0.0.1", call, to_tag="gone"))


@case()
def ack_of_no_transaction(phone: Phone, call: str) -> list[Datagram]:
    """An ACK is never answered."""
    return phone.send(request("ACK", "sip:test0@127.0.0.1", call, to_tag="gone"))


@case()
def cancel_of_no_transaction(phone: Phone, call: str) -> list[Datagram]:
    """Nothing to cancel."""
    return phone.send(request("CANCEL", "sip:test0@127.0.0.1", call))


# --- calls ----------------------------------------------------------------------------------------------------------

INVITED = ("401 Unauthorized", "200 OK", "407 Proxy Authentication Required", "100 trying", "INVITE {callee}")
TALKED = ("180 Ringing", "200 OK", "ACK {callee}", "NOTIFY {callee}", "200 OK", "BYE {callee}", "200 OK")


def _lines(callee: str, *lines: str) -> tuple[str, ...]:
    return tuple(line.format(callee=callee.strip("<>")) for line in lines)


def _invite(phone: Phone, call: str, *, caller: str, via: str, callee: str, callee_via: str) -> list[Datagram]:
    """The callee registers, the caller is challenged and comes through: the last is the INVITE that arrives."""
    to = "sip:test7@127.0.0.1"
    contact = f"Contact: {callee}"
    seen = register(phone, f"{call}-register", "test7", contact, "Expires: 3600", at="callee", via=callee_via)
    contact = f"Contact: {caller}"
    first = phone.send(request("INVITE", to, call, to=to, via=via, headers=(contact,)))
    phone.send(_ack_of_refusal(call, 1, to, first[0], via=via))
    proof = credentials(first[0], "INVITE", to, "test0", "test0")
    return seen + first + phone.send(request("INVITE", to, call, cseq=2, to=to, via=via, headers=(contact, proof)))


def _answered(
    phone: Phone, call: str, *, via: str = "127.0.0.1:5070", bye: tuple[int, str] = (200, "OK"), **parties: str
) -> list[Datagram]:
    """A whole call, with a NOTIFY in it, along the route that its INVITE recorded; `bye` answers its end."""
    seen = _invite(phone, call, via=via, **parties)
    invite, contact = seen[-1], f"Contact: {parties['callee']}"
    seen += phone.send(reply(invite, 180, "Ringing", contact), at="callee")
    final = phone.send(reply(invite, 200, "OK", contact), at="callee")
    target = re.findall("<(.*)>", final[0].header("Contact"))[0]
    routes = tuple(f"Route: {route}" for route in reversed(final[0].headers("Record-Route")))
    seen += final
    for cseq, method in ((2, "ACK"), (3, "NOTIFY"), (4, "BYE")):
        to = "sip:test7@127.0.0.1"
        within = request(method, target, call, cseq=cseq, to=to, to_tag="callee", via=via, headers=routes)
        arrived = phone.send(within)
        seen += arrived
        if method != "ACK":
            seen += phone.send(reply(arrived[0], *(bye if method == "BYE" else (200, "OK"))), at="callee")
    return seen


def _ack_of_refusal(
    call: str, cseq: int, to: str, final: Datagram, *, sender: str = "sip:test0@127.0.0.1", via: str = "127.0.0.1:5070"
) -> str:
    """The ACK that belongs to the transaction of a refused INVITE."""
    tag = re.findall(";tag=(.*)", final.header("To"))[0]
    branch = f"z9hG4bK-{call}-{cseq}-INVITE"
    return request("ACK", to, call, cseq=cseq, sender=sender, to=to, to_tag=tag, via=via, branch=branch)


@case(*_lines(CALLEE, *INVITED, *TALKED))
def call_answered(phone: Phone, call: str) -> list[Datagram]:
    """INVITE, NOTIFY and BYE, all through Kamailio."""
    return _answered(phone, call, caller=CALLER, callee=CALLEE, callee_via="127.0.0.1:5072")


@case(*_lines(CALLEE, *INVITED, *TALKED[:-1], "481 Gone already"))
def call_whose_end_is_refused(phone: Phone, call: str) -> list[Datagram]:
    """A BYE that fails is accounted all the same."""
    parties = {"caller": CALLER, "callee": CALLEE, "callee_via": "127.0.0.1:5072"}
    return _answered(phone, call, bye=(481, "Gone already"), **parties)


@case(*_lines(CALLEE, *INVITED, *TALKED))
def call_from_behind_nat(phone: Phone, call: str) -> list[Datagram]:
    """The caller's contact gets an alias, the route a mark."""
    caller, via = "<sip:test0@192.168.1.9:5099>", "192.168.1.9:5099"
    return _answered(phone, call, caller=caller, via=via, callee=CALLEE, callee_via="127.0.0.1:5072")


@case(*_lines(CALLEE, *INVITED, "180 Ringing", "486 Busy Here", "ACK {callee}"))
def call_refused(phone: Phone, call: str) -> list[Datagram]:
    """A missed call."""
    seen = _invite(phone, call, caller=CALLER, via="127.0.0.1:5070", callee=CALLEE, callee_via="127.0.0.1:5072")
    invite = seen[-1]
    seen += phone.send(reply(invite, 180, "Ringing"), at="callee")
    refused = phone.send(reply(invite, 486, "Busy Here"), at="callee")
    phone.send(_ack_of_refusal(call, 2, "sip:test7@127.0.0.1", refused[0]))
    return seen + refused


@case(
    *_lines(
        CALLEE, *INVITED, "180 Ringing", "200 canceling", "CANCEL {callee}", "487 Request Terminated", "ACK {callee}"
    )
)
def call_cancelled(phone: Phone, call: str) -> list[Datagram]:
    """Another missed call."""
    to = "sip:test7@127.0.0.1"
    seen = _invite(phone, call, caller=CALLER, via="127.0.0.1:5070", callee=CALLEE, callee_via="127.0.0.1:5072")
    invite = seen[-1]
    seen += phone.send(reply(invite, 180, "Ringing"), at="callee")
    branch = f"z9hG4bK-{call}-2-INVITE"
    cancelled = phone.send(request("CANCEL", to, call, cseq=2, to=to, branch=branch))
    phone.send(reply(cancelled[-1], 200, "OK"), at="callee")
    refused = phone.send(reply(invite, 487, "Request Terminated"), at="callee")
    phone.send(_ack_of_refusal(call, 2, to, refused[0]))
    return seen + cancelled + refused


@case("401 Unauthorized", "200 OK", *_lines(CALLEE_NATED, *INVITED, *TALKED))
def call_to_behind_nat(phone: Phone, call: str) -> list[Datagram]:
    """The callee is reached at the address that it registered from, and gets an alias."""
    gone = register(phone, f"{call}-gone", "test7", f"Contact: {CALLEE}", "Expires: 0", at="callee")
    return gone + _answered(phone, call, caller=CALLER, callee=CALLEE_NATED, callee_via="192.168.1.7:5099")


# --- who comes from elsewhere ---------------------------------------------------------------------------------------


@case("MESSAGE sip:test7@192.168.1.7:5099", "200 OK")
def trusted_address(phone: Phone, call: str) -> list[Datagram]:
    """An address in the table has nothing to prove."""
    to = "sip:test7@127.0.0.1"
    arrived = phone.send(request("MESSAGE", to, call, to=to, via=f"{TRUSTED}:5070"), at="trusted")
    return arrived + phone.send(reply(arrived[0], 200, "OK"), at="callee")


@case("401 Unauthorized")
def trusted_address_registers(phone: Phone, call: str) -> list[Datagram]:
    """Unless it registers."""
    return phone.send(request("REGISTER", HOME, call, via=f"{TRUSTED}:5070"), at="trusted")


@case("401 Unauthorized")
def flood(phone: Phone, call: str) -> list[Datagram]:
    """Somebody who sends too much is answered at first, and then no more, whatever it sends."""
    via = "127.0.0.9:5070"
    requests = [request("REGISTER", HOME, f"{call}-{number}", via=via) for number in range(60)]
    answered = phone.send(*requests, at="stranger")
    assert 16 <= len(answered) < 60, f"{len(answered)} of 60 requests were answered"
    return answered[:1] + phone.send(request("OPTIONS", HOME, call, via=via), at="stranger")


# --- the tests ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Seen:
    """Everything that came of an engine's conversations."""

    replies: dict[str, list[Datagram]]
    markers: set[str]
    tables: dict[str, list[dict[str, object]]]
    banned: str  # Kamailio's table of those
    errors: tuple[str, ...]  # what it logged, without what differs from one run to the next


@pytest.fixture(scope="module")
def seen(bench: Bench) -> dict[str, Seen]:
    """All conversations with all engines, and the tables afterwards."""
    with bench.mysql() as server:
        return {engine: _hear(bench, engine, server) for engine in ENGINES}


def _hear(bench: Bench, engine: str, server: MySql) -> Seen:
    own = name_of(engine)
    with server.driver() as driver:
        driver.renew(own)
    server.rows(f"INSERT INTO {own}.address (grp, ip_addr, mask, port) VALUES (1, '{TRUSTED}', 32, 0)")  # noqa: S608
    kamailio = bench.start(
        "kamailio",
        network_mode="none",
        environment={"LAB_ENGINE": engine, "LAB_DATABASE": own},
        volumes=[
            (server.sockets, "/run/mysqld", "rw"),
            (str(ROOT / "images/kamailio/etc"), "/etc/kamailio", "ro"),
        ],
    )
    ask(kamailio, "sh", "-c", "until kamcmd core.uptime >/dev/null 2>&1; do sleep 0.05; done")
    space = kamailio.get_wrapped_container()
    far_end = bench.start("sipp", "sleep", "infinity", network_mode=f"container:{space.id}")
    replies: dict[str, list[Datagram]] = {}
    markers: set[str] = set()
    with open_in(str(far_end.get_wrapped_container().id)) as phone:
        for one in CASES:
            replies[one.name] = one.talk(phone, one.name)
            markers.add(phone.engine)
    banned = ask(kamailio, "kamcmd", "htable.dump", "ipban")
    space.stop()
    log = space.logs(stdout=False).decode(errors="replace").splitlines()
    errors = tuple(re.sub(r"^ *\d+\(\d+\) ", "", line) for line in log if latency.is_error(line))
    tables = {table: server.rows(f"SELECT * FROM {own}.{table}") for table in TABLES}  # noqa: S608
    return Seen(replies, markers, tables, banned, errors)


def _text(datagram: Datagram, engine: str) -> str:
    """What has to be alike: not Kamailio's nonces, tags and branches, not seconds that passed, not the marker."""
    text = re.sub(r'(nonce|response)="[^"]*"', r'\1="..."', datagram.text)
    text = re.sub(r"^(To: .*;tag=)(?!callee\b)[^\r;]+", r"\1...", text, flags=re.MULTILINE)
    text = re.sub(r"branch=z9hG4bK[0-9a-f]+\.[^\r;]+", "branch=...", text)
    text = re.sub(r"expires=35\d\d\b", "expires=3600", text)
    return f"at the {datagram.at}:\n" + text.replace(f"X-Lab-Engine: {engine}\r\n", "X-Lab-Engine: ...\r\n")


@pytest.mark.parametrize("engine", ENGINES)
def test_the_script_that_answers_is_the_engines(seen: dict[str, Seen], engine: str) -> None:
    """The marker, which only that script sets, was in every one of the keepalive answers."""
    assert seen[engine].markers == {engine}


@pytest.mark.parametrize("one", CASES, ids=lambda one: one.name)
def test_native_routing_replies_as_specified(seen: dict[str, Seen], one: Case) -> None:
    """Status lines, and what is sent on to whom."""
    firsts = [datagram.first for datagram in seen["native"].replies[one.name]]
    assert len(firsts) == len(one.expected), firsts
    for first, expected in zip(firsts, one.expected, strict=True):
        assert first.startswith(expected), firsts


@pytest.mark.parametrize("one", CASES, ids=lambda one: one.name)
@pytest.mark.parametrize("engine", ENGINES[1:])
def test_every_engine_replies_as_native_routing_does(seen: dict[str, Seen], engine: str, one: Case) -> None:
    """Whole messages, header by header, replies and what is sent on."""
    own = [_text(datagram, engine) for datagram in seen[engine].replies[one.name]]
    assert own == [_text(datagram, "native") for datagram in seen["native"].replies[one.name]]


def test_what_native_routing_adds_and_takes_away(seen: dict[str, Seen]) -> None:
    """What all three could lose together: hints, routes, marks of NAT, credentials."""
    replies = seen["native"].replies
    sent_on = next(one for one in replies["message_to_another_domain"] if one.at == "elsewhere")
    assert sent_on.headers("P-Hint") == ["outbound"]
    assert sent_on.headers("Route") == []
    assert sent_on.headers("Proxy-Authorization") == []
    published = next(one for one in replies["publish"] if one.first.startswith("PUBLISH"))
    assert published.headers("Proxy-Authorization") != []
    for name, marked in (("call_answered", False), ("call_from_behind_nat", True), ("call_to_behind_nat", True)):
        invite = next(one for one in replies[name] if one.first.startswith("INVITE"))
        assert (";nat=yes" in invite.header("Record-Route")) is marked, name
        notify = next(one for one in replies[name] if one.first.startswith("NOTIFY"))
        assert len(notify.headers("Record-Route")) == 1, name
    nated = next(one for one in replies["call_from_behind_nat"] if one.first.startswith("INVITE"))
    assert ";alias=127.0.0.1~5070~1" in nated.header("Contact")
    answer = next(
        one for one in replies["call_to_behind_nat"] if "CSeq: 2 INVITE" in one.text and one.first == "200 OK"
    )
    assert ";alias=127.0.0.1~5072~1" in answer.header("Contact")


def test_contacts_behind_nat_are_marked_as_such(seen: dict[str, Seen]) -> None:
    """Flags 6 and 7 of the branch, and the address that the request came from."""
    rows = {str(row["contact"]): row for row in seen["native"].tables["location"]}
    for contact, row in rows.items():
        nated = "192.168." in contact
        assert row["cflags"] == (2**6 + 2**7 if nated else 0), contact
        assert (row["received"] is not None) is nated, contact


@pytest.mark.parametrize("engine", ENGINES)
def test_a_flood_is_banned_by_address(seen: dict[str, Seen], engine: str) -> None:
    """For as long as the table keeps it, also when pike has calmed down; and nobody else is."""
    assert re.findall(r"name: (\S+)", seen[engine].banned) == ["127.0.0.9"]


@pytest.mark.parametrize("engine", ENGINES)
def test_every_engine_logs_the_errors_of_native_routing(seen: dict[str, Seen], engine: str) -> None:
    """The ban and the malformed messages; a callback that throws, and answers nothing less for it, would show here."""
    own, native = ([_complaint(line) for line in seen[name].errors] for name in (engine, "native"))
    assert own == native
    assert sum("pike bans 127.0.0.9 for a flood" in line for line in own) == 1


def _complaint(line: str) -> str:
    """What is wrong; where in its source an engine found it is its own affair."""
    return re.sub(r"^(\w*: )(\|[^|]*\|[^|]*\|[^|]*\|)?<?[\w/ ]*>?( \[[^]]*\]: \w+\(\))?:? ", r"\1", line)


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("engine", ENGINES)
def test_every_engine_leaves_the_rows_of_native_routing(seen: dict[str, Seen], engine: str, table: str) -> None:
    """The same bindings, accounted calls and missed calls, in all columns that do not tell time or chance."""
    own = [_columns(row) for row in seen[engine].tables[table]]
    assert own == [_columns(row) for row in seen["native"].tables[table]]
    assert len(own) == TABLES[table]


def _columns(row: dict[str, object]) -> dict[str, object]:
    kept = {name: value for name, value in row.items() if name not in CHANCE}
    if str(row.get("to_tag", "callee")) != "callee":  # Kamailio's own
        del kept["to_tag"]
    return kept
