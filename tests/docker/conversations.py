"""What is said to Kamailio in the conformance tests, call by call, and the first lines of what comes of it.

They are held in the order of this file: bindings that one leaves are what the next one meets.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

from tests.docker.phone import DOMAIN, Datagram, Phone, credentials, reply, request

HOME = f"sip:{DOMAIN}"
FOREIGNER = "sip:somebody@example.com"
CALLER = "<sip:test0@127.0.0.1:5070>"
CALLER_VIA = "127.0.0.1:5070"
CALLEE = "<sip:test7@127.0.0.1:5072>"
CALLER_NATED = "<sip:test0@192.168.1.9:5099>"
TEST7 = "sip:test7@127.0.0.1"
CALLEE_NATED = "<sip:test7@192.168.1.7:5099>"
CALLEE_VIA = "127.0.0.1:5072"
DESK = "<sip:test4@127.0.0.1:5072>"  # two phones of one user
MOBILE = "<sip:test4@127.0.0.1:5074>"
MOBILE_VIA = "127.0.0.1:5074"
TRUSTED = "127.0.0.8"
STRANGER = "127.0.0.9"

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
    """Both legs. Nobody sends a 100 Trying before, as two of the page's three scripts did."""
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


@case("401 Unauthorized", "200 OK", "401 Unauthorized", "200 OK")
def register_a_second_contact(phone: Phone, call: str) -> list[Datagram]:
    """Another phone of the same user: the second answer names both."""
    seen = register(phone, f"{call}-first", "test4", f"Contact: {DESK}", "Expires: 3600", at="callee", via=CALLEE_VIA)
    return seen + register(phone, call, "test4", f"Contact: {MOBILE}", "Expires: 3600", at="elsewhere", via=MOBILE_VIA)


@case("401 Unauthorized", "200 OK")
def register_two_contacts_at_once(phone: Phone, call: str) -> list[Datagram]:
    """A refresh of both in one message, each for its own time."""
    contact = f"Contact: {DESK};expires=3600, {MOBILE};expires=3580"
    return register(phone, call, "test4", contact, at="callee", via=CALLEE_VIA)


@case("401 Unauthorized", "200 OK")
def ask_for_several_bindings(phone: Phone, call: str) -> list[Datagram]:
    """They are two, and stay so."""
    return register(phone, call, "test4")


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


@case("200 Keepalive")
def name_that_is_no_utf8(phone: Phone, call: str) -> list[Datagram]:
    """A phone may call itself as it likes, in Latin-1, say."""
    return phone.send(request("OPTIONS", HOME, call, headers=("User-Agent: T\udce9l\udce9phone",)))


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


# --- who comes from elsewhere ---------------------------------------------------------------------------------------


@case("MESSAGE sip:test0@127.0.0.1:5070", "200 OK")
def trusted_address(phone: Phone, call: str) -> list[Datagram]:
    """An address in the table has nothing to prove."""
    to = "sip:test0@127.0.0.1"
    arrived = phone.send(request("MESSAGE", to, call, to=to, via=f"{TRUSTED}:5070"), at="trusted")
    return arrived + phone.send(reply(arrived[0], 200, "OK"))


@case("401 Unauthorized")
def trusted_address_registers(phone: Phone, call: str) -> list[Datagram]:
    """Unless it registers."""
    return phone.send(request("REGISTER", HOME, call, via=f"{TRUSTED}:5070"), at="trusted")


@case("401 Unauthorized", "banned: 127.0.0.9")
def flood(phone: Phone, call: str) -> list[Datagram]:
    """Somebody who sends too much is answered at first, and then no more, whatever it sends; nobody else is banned."""
    via = f"{STRANGER}:5070"
    requests = [request("REGISTER", HOME, f"{call}-{number}", via=via) for number in range(60)]
    answered = phone.send(*requests, at="stranger")
    assert 16 <= len(answered) < 60, f"{len(answered)} of 60 requests were answered"
    return answered[:1] + phone.send(request("OPTIONS", HOME, call, via=via), at="stranger") + _banned(phone)


def _banned(phone: Phone) -> list[Datagram]:
    """Kamailio's table of those that it does not answer."""
    names = re.findall(r"name: (\S+)", phone.kamcmd("htable.dump", "ipban"))
    return [Datagram("ipban", f"banned: {' '.join(names)}")]


# --- calls ----------------------------------------------------------------------------------------------------------

INVITED = ("401 Unauthorized", "200 OK", "407 Proxy Authentication Required", "100 trying", "INVITE {callee}")
TALKED = ("180 Ringing", "200 OK", "ACK {callee}", "NOTIFY {callee}", "200 OK", "BYE {callee}", "200 OK")


def _lines(callee: str, *lines: str) -> tuple[str, ...]:
    return tuple(line.format(callee=callee.strip("<>")) for line in lines)


def _called(phone: Phone, call: str, to: str, *, caller: str = CALLER, via: str = CALLER_VIA) -> list[Datagram]:
    """test0 is challenged and comes through; at the end is what has arrived of the INVITE."""
    contact = f"Contact: {caller}"
    first = phone.send(request("INVITE", to, call, to=to, via=via, headers=(contact,)))
    phone.send(_ack_of_refusal(call, 1, to, first[0], via=via))
    return first + phone.send(_authenticated_invite(first[0], call, to, caller=caller, via=via))


def _authenticated_invite(
    challenge: Datagram, call: str, to: str, *, caller: str = CALLER, via: str = CALLER_VIA
) -> str:
    proof = credentials(challenge, "INVITE", to, "test0", "test0")
    return request("INVITE", to, call, cseq=2, to=to, via=via, headers=(f"Contact: {caller}", proof))


def _invite(
    phone: Phone,
    call: str,
    *,
    caller: str = CALLER,
    via: str = CALLER_VIA,
    callee: str = CALLEE,
    callee_via: str = CALLEE_VIA,
) -> list[Datagram]:
    """The callee registers, the caller comes through: the last is the INVITE that arrives."""
    contact = f"Contact: {callee}"
    seen = register(phone, f"{call}-register", "test7", contact, "Expires: 3600", at="callee", via=callee_via)
    return seen + _called(phone, call, TEST7, caller=caller, via=via)


@dataclass(frozen=True)
class Dialog:
    """A call that was answered: what either side has learned of the other, and of the way."""

    call: str
    invite: Datagram
    answer: Datagram
    via: str = CALLER_VIA

    def from_caller(self, cseq: int, method: str) -> str:
        """A request towards the callee."""
        routes = tuple(f"Route: {route}" for route in reversed(self.answer.headers("Record-Route")))
        to = re.findall("<(.*)>", self.invite.header("To"))[0]
        return request(
            method, _target(self.answer), self.call, cseq=cseq, to=to, to_tag="callee", via=self.via, headers=routes
        )

    def from_callee(self, cseq: int, method: str) -> str:
        """A request towards the caller."""
        return request(
            method,
            _target(self.invite),
            self.call,
            cseq=cseq,
            sender=re.findall("<(.*)>", self.invite.header("To"))[0],
            sender_tag="callee",
            to=re.findall("<(.*)>", self.invite.header("From"))[0],
            to_tag="caller",
            via=CALLEE_VIA,
            headers=tuple(f"Route: {route}" for route in self.invite.headers("Record-Route")),
        )


def _target(message: Datagram) -> str:
    return str(re.findall("<(.*)>", message.header("Contact"))[0])


def _picked_up(
    phone: Phone, call: str, *, via: str = CALLER_VIA, callee: str = CALLEE, **parties: str
) -> tuple[list[Datagram], Dialog]:
    """A call that rings, is answered, and acknowledged."""
    seen = _invite(phone, call, via=via, callee=callee, **parties)
    invite, contact = seen[-1], f"Contact: {callee}"
    seen += phone.send(reply(invite, 180, "Ringing", contact), at="callee")
    seen += phone.send(reply(invite, 200, "OK", contact), at="callee")
    dialog = Dialog(call, invite, seen[-1], via)
    return seen + phone.send(dialog.from_caller(2, "ACK")), dialog


def _answered(phone: Phone, call: str, *, bye: tuple[int, str] = (200, "OK"), **parties: str) -> list[Datagram]:
    """A whole call, with a NOTIFY in it, along the route that its INVITE recorded; `bye` answers its end."""
    seen, dialog = _picked_up(phone, call, **parties)
    for cseq, method, answer in ((3, "NOTIFY", (200, "OK")), (4, "BYE", bye)):
        arrived = phone.send(dialog.from_caller(cseq, method))
        seen += arrived + phone.send(reply(arrived[0], *answer), at="callee")
    return seen


def _ack_of_refusal(
    call: str, cseq: int, to: str, final: Datagram, *, sender: str = "sip:test0@127.0.0.1", via: str = CALLER_VIA
) -> str:
    """The ACK that belongs to the transaction of a refused INVITE."""
    tag = re.findall(";tag=(.*)", final.header("To"))[0]
    branch = f"z9hG4bK-{call}-{cseq}-INVITE"
    return request("ACK", to, call, cseq=cseq, sender=sender, to=to, to_tag=tag, via=via, branch=branch)


@case(*_lines(CALLEE, *INVITED, *TALKED))
def call_answered(phone: Phone, call: str) -> list[Datagram]:
    """INVITE, NOTIFY and BYE, all through Kamailio."""
    return _answered(phone, call)


@case(*_lines(CALLEE, *INVITED, *TALKED[:-1], "481 Gone already"))
def call_whose_end_is_refused(phone: Phone, call: str) -> list[Datagram]:
    """A BYE that fails is accounted all the same."""
    return _answered(phone, call, bye=(481, "Gone already"))


@case(*_lines(CALLEE, *INVITED, *TALKED))
def call_from_behind_nat(phone: Phone, call: str) -> list[Datagram]:
    """The caller's contact gets an alias, the route a mark."""
    return _answered(phone, call, caller=CALLER_NATED, via="192.168.1.9:5099")


@case(*_lines(CALLEE, *INVITED, "180 Ringing", "486 Busy Here", "ACK {callee}"))
def call_refused(phone: Phone, call: str) -> list[Datagram]:
    """A missed call."""
    seen = _invite(phone, call)
    invite = seen[-1]
    seen += phone.send(reply(invite, 180, "Ringing"), at="callee")
    refused = phone.send(reply(invite, 486, "Busy Here"), at="callee")
    phone.send(_ack_of_refusal(call, 2, TEST7, refused[0]))
    return seen + refused


@case(
    *_lines(
        CALLEE, *INVITED, "180 Ringing", "200 canceling", "CANCEL {callee}", "487 Request Terminated", "ACK {callee}"
    )
)
def call_cancelled(phone: Phone, call: str) -> list[Datagram]:
    """Another missed call."""
    to = TEST7
    seen = _invite(phone, call)
    invite = seen[-1]
    seen += phone.send(reply(invite, 180, "Ringing"), at="callee")
    branch = f"z9hG4bK-{call}-2-INVITE"
    cancelled = phone.send(request("CANCEL", to, call, cseq=2, to=to, branch=branch))
    phone.send(reply(cancelled[-1], 200, "OK"), at="callee")
    refused = phone.send(reply(invite, 487, "Request Terminated"), at="callee")
    phone.send(_ack_of_refusal(call, 2, to, refused[0]))
    return seen + cancelled + refused


@case(
    *_lines(CALLEE, *INVITED, "180 Ringing", "180 Ringing", "486 Busy Here", "ACK {callee}"),
)
def invite_sent_again_while_it_rings(phone: Phone, call: str) -> list[Datagram]:
    """The callee hears of one INVITE; the caller is told once more that it rings."""
    seen = _invite(phone, call)
    challenge, invite = next(one for one in seen if one.first.startswith("407")), seen[-1]
    seen += phone.send(reply(invite, 180, "Ringing"), at="callee")
    seen += phone.send(_authenticated_invite(challenge, call, TEST7), copies=True)
    refused = phone.send(reply(invite, 486, "Busy Here"), at="callee")
    phone.send(_ack_of_refusal(call, 2, TEST7, refused[0]))
    return seen + refused


@case(*_lines(CALLEE, *INVITED, "500 Service Unavailable", "ACK {callee}"))
def call_to_somebody_overloaded(phone: Phone, call: str) -> list[Datagram]:
    """A 503 of the callee says nothing about Kamailio, which makes a 500 of it."""
    seen = _invite(phone, call)
    refused = phone.send(reply(seen[-1], 503, "Service Unavailable", "Retry-After: 60"), at="callee")
    phone.send(_ack_of_refusal(call, 2, TEST7, refused[0]))
    return seen + refused


@case("100 trying", *_lines(CALLEE, "INVITE {callee}", "480 Not now", "ACK {callee}"))
def call_of_a_foreigner(phone: Phone, call: str) -> list[Datagram]:
    """Whoever calls a local user from another domain has nothing to prove; the call is missed all the same."""
    invite = request("INVITE", TEST7, call, sender=FOREIGNER, to=TEST7, headers=(f"Contact: {CALLER}",))
    seen = phone.send(invite)
    refused = phone.send(reply(seen[-1], 480, "Not now"), at="callee")
    phone.send(_ack_of_refusal(call, 1, TEST7, refused[0], sender=FOREIGNER))
    return seen + refused


UPDATED = ("180 Ringing", "200 OK", "ACK {callee}", "UPDATE {callee}", "200 OK", "UPDATE {caller}", "200 OK")


def _ended_by_the_callee(phone: Phone, call: str, **parties: str) -> list[Datagram]:
    """A call in which both sides send an UPDATE, and the callee the BYE."""
    seen, dialog = _picked_up(phone, call, **parties)
    contact = f"Contact: {parties.get('callee', CALLEE)}"
    update = phone.send(dialog.from_caller(3, "UPDATE"))
    seen += update + phone.send(reply(update[0], 200, "OK", contact), at="callee")
    for cseq, method in ((1, "UPDATE"), (2, "BYE")):
        arrived = phone.send(dialog.from_callee(cseq, method), at="callee")
        seen += arrived + phone.send(reply(arrived[0], 200, "OK", f"Contact: {parties.get('caller', CALLER)}"))
    return seen


@case(
    *(
        line.format(caller=CALLER.strip("<>"), callee=CALLEE.strip("<>"))
        for line in (*INVITED, *UPDATED, "BYE {caller}", "200 OK")
    )
)
def call_ended_by_the_callee(phone: Phone, call: str) -> list[Datagram]:
    """Requests towards the caller go by the same route."""
    return _ended_by_the_callee(phone, call)


@case(
    *(
        line.format(caller=CALLER_NATED.strip("<>"), callee=CALLEE.strip("<>"))
        for line in (*INVITED, *UPDATED, "BYE {caller}", "200 OK")
    )
)
def call_from_behind_nat_ended_by_the_callee(phone: Phone, call: str) -> list[Datagram]:
    """And they reach a caller behind NAT at the address that its INVITE came from."""
    return _ended_by_the_callee(phone, call, caller=CALLER_NATED, via="192.168.1.9:5099")


@case("401 Unauthorized", "200 OK", *_lines(CALLEE_NATED, *INVITED, *TALKED))
def call_to_behind_nat(phone: Phone, call: str) -> list[Datagram]:
    """The callee is reached at the address that it registered from, and gets an alias."""
    gone = register(phone, f"{call}-gone", "test7", f"Contact: {CALLEE}", "Expires: 0", at="callee")
    return gone + _answered(phone, call, callee=CALLEE_NATED, callee_via="192.168.1.7:5099")


# --- several phones of one user ---------------------------------------------------------------------------------------

TEST4 = "sip:test4@127.0.0.1"
FORKED = (
    "407 Proxy Authentication Required",
    "100 trying",
    f"INVITE {DESK.strip('<>')}",
    f"INVITE {MOBILE.strip('<>')}",
    "180 Ringing",
    "180 Ringing",
)


def _forked(phone: Phone, call: str) -> tuple[list[Datagram], Datagram, Datagram]:
    """Both phones ring: everything so far, and the INVITE of each."""
    seen = _called(phone, call, TEST4)
    desk, mobile = (next(one for one in seen if one.at == at) for at in ("callee", "elsewhere"))
    seen += phone.send(reply(desk, 180, "Ringing", f"Contact: {DESK}"), at="callee")
    seen += phone.send(reply(mobile, 180, "Ringing", f"Contact: {MOBILE}", tag="callee-mobile"), at="elsewhere")
    return seen, desk, mobile


@case(
    *FORKED,
    "200 OK",
    f"CANCEL {MOBILE.strip('<>')}",
    f"ACK {MOBILE.strip('<>')}",
    f"ACK {DESK.strip('<>')}",
    f"BYE {DESK.strip('<>')}",
    "200 OK",
)
def call_forked_and_answered_by_one(phone: Phone, call: str) -> list[Datagram]:
    """The other one is told to stop ringing; the caller hears of one answer."""
    seen, desk, mobile = _forked(phone, call)
    answered = phone.send(reply(desk, 200, "OK", f"Contact: {DESK}"), at="callee")
    phone.send(reply(answered[-1], 200, "OK"), at="elsewhere")
    stopped = phone.send(reply(mobile, 487, "Request Terminated", tag="callee-mobile"), at="elsewhere")
    dialog = Dialog(call, desk, answered[0])
    seen += answered + stopped + phone.send(dialog.from_caller(2, "ACK"))
    bye = phone.send(dialog.from_caller(3, "BYE"))
    return seen + bye + phone.send(reply(bye[0], 200, "OK"), at="callee")


@case(*FORKED, f"ACK {DESK.strip('<>')}", "486 Busy Here", f"ACK {MOBILE.strip('<>')}")
def call_forked_and_refused_by_both(phone: Phone, call: str) -> list[Datagram]:
    """The caller hears of the better refusal, once both are there: a missed call."""
    seen, desk, mobile = _forked(phone, call)
    seen += phone.send(reply(desk, 486, "Busy Here"), at="callee")
    refused = phone.send(reply(mobile, 503, "Service Unavailable", tag="callee-mobile"), at="elsewhere")
    phone.send(_ack_of_refusal(call, 2, TEST4, refused[0]))
    return seen + refused


@case(
    *FORKED,
    "200 canceling",
    f"CANCEL {DESK.strip('<>')}",
    f"CANCEL {MOBILE.strip('<>')}",
    f"ACK {DESK.strip('<>')}",
    "487 Request Terminated",
    f"ACK {MOBILE.strip('<>')}",
)
def call_forked_and_cancelled(phone: Phone, call: str) -> list[Datagram]:
    """Both are told to stop."""
    seen, desk, mobile = _forked(phone, call)
    cancelled = phone.send(request("CANCEL", TEST4, call, cseq=2, to=TEST4, branch=f"z9hG4bK-{call}-2-INVITE"))
    for one in cancelled[1:]:
        phone.send(reply(one, 200, "OK", tag="callee-cancel"), at=one.at)
    seen += cancelled + phone.send(reply(desk, 487, "Request Terminated"), at="callee")
    refused = phone.send(reply(mobile, 487, "Request Terminated", tag="callee-mobile"), at="elsewhere")
    phone.send(_ack_of_refusal(call, 2, TEST4, refused[0]))
    return seen + refused


@case("401 Unauthorized", "200 OK", "401 Unauthorized", "200 OK", "404 Not Found")
def unregister_all_by_a_star(phone: Phone, call: str) -> list[Datagram]:
    """'*' with Expires 0 removes both; a question finds none, and nor does a call."""
    seen = register(phone, call, "test4", "Contact: *", "Expires: 0", at="callee", via=CALLEE_VIA)
    seen += register(phone, f"{call}-asked", "test4")
    own = f"{call}-called"
    return seen + phone.send(request("MESSAGE", TEST4, own, sender=FOREIGNER, to=TEST4))


# --- what cannot be sent on -------------------------------------------------------------------------------------------


@case("407 Proxy Authentication Required", "477 ")
def message_to_an_unreachable_address(phone: Phone, call: str) -> list[Datagram]:
    """There is no way to it from here."""
    return challenged(phone, call, "MESSAGE", "sip:y@192.0.2.1")


@case("407 Proxy Authentication Required", "500 I'm terribly sorry, server error occurred")
def message_by_a_transport_that_is_off(phone: Phone, call: str) -> list[Datagram]:
    """Kamailio has no socket for it."""
    return challenged(phone, call, "MESSAGE", "sip:y@127.0.0.1:5074;transport=tcp")


@case("401 Unauthorized", "200 OK", "407 Proxy Authentication Required", "100 trying", "477 ")
def call_to_an_unreachable_contact(phone: Phone, call: str) -> list[Datagram]:
    """A binding that leads nowhere."""
    to = "sip:test6@127.0.0.1"
    seen = register(phone, f"{call}-register", "test6", "Contact: <sip:test6@192.0.2.6:5060>", "Expires: 3600")
    seen += _called(phone, call, to)
    phone.send(_ack_of_refusal(call, 2, to, seen[-1]))
    return seen


# --- later ------------------------------------------------------------------------------------------------------------


@case("banned: 127.0.0.9", "banned: ", "200 Keepalive")
def let_in_again(phone: Phone, call: str) -> list[Datagram]:
    """The ban outlasts the flood; when it is over, the sender is answered as everybody is.

    For "later" stands: pike has calmed down by itself, as its own list says (a few seconds after the flood), and the
    entry in the table, which would expire after 300 s, is deleted by Kamailio's RPC.
    """
    via = f"{STRANGER}:5070"
    while STRANGER in phone.kamcmd("pike.top", "HOT"):
        assert phone.send(request("OPTIONS", HOME, f"{call}-early", via=via), at="stranger") == []
    seen = phone.send(request("OPTIONS", HOME, f"{call}-still", via=via), at="stranger") + _banned(phone)
    phone.kamcmd("htable.delete", "ipban", STRANGER)
    seen += _banned(phone)
    return seen + phone.send(request("OPTIONS", HOME, call, via=via), at="stranger")


# --- where releases differ --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Difference:
    """What native routing does otherwise on some releases, and why; every engine of such a release does the same."""

    releases: tuple[str, ...]  # how their versions begin
    case: str
    expected: tuple[str, ...]
    why: str


TWICE = (
    "sl_reply_error() of Kamailio 5 replies whether or not there was a reply. That of 6.0 does not where the message "
    "is marked as answered (FL_FINAL_REPLY), or as one that tm will answer (FL_DELAYED_REPLY)."
)
DIFFERENCES = (
    Difference(
        ("5.",),
        "register_a_star_that_stays",
        ("401 Unauthorized", "400 Bad Request", "500 I'm terribly sorry, server error occurred (1/SL)"),
        TWICE,
    ),
    Difference(
        ("5.",),
        "message_to_an_unreachable_address",
        (
            "407 Proxy Authentication Required",
            "477 Unfortunately error on sending to next hop occurred (477/SL)",
            "477 ",
        ),
        TWICE,
    ),
    Difference(
        ("5.",),
        "message_by_a_transport_that_is_off",
        (
            "407 Proxy Authentication Required",
            "500 I'm terribly sorry, server error occurred (7/SL)",
            "500 I'm terribly sorry, server error occurred (7/TM)",
        ),
        TWICE,
    ),
    Difference(
        ("5.",),
        "call_to_an_unreachable_contact",
        (
            "401 Unauthorized",
            "200 OK",
            "407 Proxy Authentication Required",
            "100 trying",
            "477 Unfortunately error on sending to next hop occurred (477/SL)",
            "477 ",
        ),
        TWICE,
    ),
    Difference(("5.4",), "malformed_to", ("400 Bad To URI",), "the text of 5.4's sanity module"),
    Difference(("6.1",), "malformed_to", ("400 Invalid To Header",), "a slip of the pen was mended in 6.1"),
    Difference(
        ("6.1.4",),
        "call_forked_and_answered_by_one",
        (
            *FORKED,
            "200 OK",
            f"CANCEL {MOBILE.strip('<>')}",
            "487 Request Terminated",
            f"ACK {DESK.strip('<>')}",
            f"BYE {DESK.strip('<>')}",
            "200 OK",
        ),
        "tm of 6.1.4 does not find the transaction that a cancelled branch's refusal belongs to: there is no ACK, and "
        "the refusal goes on to the caller, who has its answer (such replies: kamailio/kamailio issue 4881)",
    ),
)


def expected_of(one: Case, version: str) -> tuple[str, ...]:
    """The first lines that a conversation brings on a release; `version` as it says it (6.1.4)."""
    for row in DIFFERENCES:
        if row.case == one.name and version.startswith(row.releases):
            return row.expected
    return one.expected


# The one thing that KEMI engines cannot do as native routing does: docs/parity.md. Native's sl_reply_error() says why
# the function before it has failed; Kamailio remembers that from one action of its own language to the next
# (prev_ser_error in core/action.c), and not from one call of a KEMI engine to the next. On 6.x the reply is not sent.
UNTOLD_RELEASES = ("5.",)
UNTOLD = re.compile(
    r"(?:477 )?Unfortunately error on sending to next hop occurred \(477/SL\)"
    r"|(?:500 )?I'm terribly sorry, server error occurred \(7/SL\)"
)


def untold(text: str, version: str) -> str:
    """What native routing says, as an engine says it that was not told the reason."""
    if not version.startswith(UNTOLD_RELEASES):
        return text
    words = "I'm terribly sorry, server error occurred (1/SL)"
    return UNTOLD.sub(lambda found: f"500 {words}" if found[0][0].isdigit() else words, text)


# What Python 3 cannot do: its text is Unicode, so that asking for a header that is no UTF-8 throws, and the request
# gets no answer (docs/engines/python3.md).
UNDECODED = "name_that_is_no_utf8"
UNDECODING = frozenset({"python3", "python3s"})
UNDECODED_ERROR = re.compile(r"Unhandled exception in the Python code|error exception occurred")

# Calls that are accounted, by native routing: what acc and missed_calls have of them. Nothing else is.
ACCOUNTED = (
    "call_answered INVITE 200",
    "call_answered BYE 200",
    "call_whose_end_is_refused INVITE 200",
    "call_whose_end_is_refused BYE 481",
    "call_from_behind_nat INVITE 200",
    "call_from_behind_nat BYE 200",
    "call_ended_by_the_callee INVITE 200",
    "call_ended_by_the_callee BYE 200",
    "call_from_behind_nat_ended_by_the_callee INVITE 200",
    "call_from_behind_nat_ended_by_the_callee BYE 200",
    "call_to_behind_nat INVITE 200",
    "call_to_behind_nat BYE 200",
    "call_forked_and_answered_by_one INVITE 200",
    "call_forked_and_answered_by_one BYE 200",
)
MISSED = (
    "call_refused INVITE 486",
    "call_cancelled INVITE 487",
    "invite_sent_again_while_it_rings INVITE 486",
    "call_to_somebody_overloaded INVITE 503",
    "call_of_a_foreigner INVITE 480",
    "call_forked_and_refused_by_both INVITE 486",
    "call_forked_and_cancelled INVITE 487",
    "call_to_an_unreachable_contact INVITE 477",
)
BOUND = (
    "test0 sip:test0@127.0.0.1:5070",
    "test6 sip:test6@192.0.2.6:5060",
    "test7 sip:test7@192.168.1.7:5099",
    "test8 sip:test8@127.0.0.1:5074",
)
