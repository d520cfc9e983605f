"""SIP from inside Kamailio's network namespace, where its address counts as Kamailio's own.

A conversation is exact without any waiting: Kamailio has one worker, which takes requests in order, so that the answer
to an OPTIONS sent afterwards says that whatever came of the requests before it has arrived.
"""

import hashlib
import queue
import re
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

RELAY = Path(__file__).parent / "data" / "relay.pl"

DOMAIN = "127.0.0.1"
PATIENCE_SECONDS = 20  # for an answer that takes milliseconds on an idle machine
Command = Callable[..., str]
# Who talks to Kamailio, and from where. The fence comes last: see relay.pl.
SOCKETS = {
    "caller": "127.0.0.1:5070",
    "callee": "127.0.0.1:5072",
    "elsewhere": "127.0.0.1:5074",
    "trusted": "127.0.0.8:5070",
    "stranger": "127.0.0.9:5070",
    "fence": "127.0.0.1:5069",
}


@dataclass(frozen=True)
class Datagram:
    """What arrived, and where."""

    at: str
    text: str

    @property
    def first(self) -> str:
        """Its first line, without the name of the protocol."""
        return self.text.partition("\r\n")[0].removeprefix("SIP/2.0 ").removesuffix(" SIP/2.0")

    def header(self, name: str) -> str:
        """Value of a header that it must have."""
        found = re.search(rf"^{name}: (.*?)\r$", self.text, re.MULTILINE)
        assert found, f"no header {name} in:\n{self.text}"
        return found[1]

    def headers(self, name: str) -> list[str]:
        """Values of a header, in order."""
        return re.findall(rf"^{name}: (.*?)\r$", self.text, re.MULTILINE)


class SilenceError(Exception):
    """Kamailio does not even answer the keepalive any more."""


BYTES = "surrogateescape"  # what is no UTF-8 goes out, and comes back, as it is: \udce9 is the byte E9


class Phone:
    """All sockets of SOCKETS, on one line to the container that has them."""

    def __init__(self, line: subprocess.Popen[str], kamcmd: Command) -> None:
        """Use `open_in`."""
        self._line = line
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._listen)
        self._reader.start()
        self.kamcmd = kamcmd  # Kamailio's RPC
        self._fences = 0
        self._heard: set[Datagram] = set()
        self.engine = ""  # the marker in the latest fence

    def send(self, *texts: str, at: str = "caller", copies: bool = False) -> list[Datagram]:
        """Send requests or replies; return what came of them within their calls, socket by socket.

        What was heard before, word by word, was sent again because somebody took too long to answer: on a machine that
        is busy with other things that is chance. `copies` asks for it.
        """
        calls = {Datagram(at, text).header("Call-ID") for text in texts if "\r\nCall-ID: " in text}
        self._fences += 1
        fence = f"fence-{self._fences}"
        for text in texts:
            self._write(at, text)
        self._write(
            "fence", request("OPTIONS", f"sip:{DOMAIN}", fence, sender=f"sip:fence@{DOMAIN}", via="127.0.0.1:5069")
        )
        arrived: list[Datagram] = []
        while True:
            datagram = self._read()
            if datagram.at == "fence" and datagram.header("Call-ID") == fence:
                self.engine = datagram.header("X-Lab-Engine")
                return sorted(arrived, key=lambda one: list(SOCKETS).index(one.at))
            ours = not calls or set(datagram.headers("Call-ID")) & calls
            if ours and (copies or datagram not in self._heard):
                arrived.append(datagram)
            self._heard.add(datagram)

    def close(self) -> None:
        """The relay ends with its standard input."""
        assert self._line.stdin
        self._line.stdin.close()
        self._reader.join()

    def _write(self, at: str, text: str) -> None:
        assert self._line.stdin
        self._line.stdin.write(f"{at} {text.encode(errors=BYTES).hex()}\n")
        self._line.stdin.flush()

    def _read(self) -> Datagram:
        try:
            at, _, content = self._lines.get(timeout=PATIENCE_SECONDS).strip().partition(" ")
        except queue.Empty:
            raise SilenceError("no answer to a keepalive") from None
        return Datagram(at, bytes.fromhex(content).decode(errors=BYTES))

    def _listen(self) -> None:
        for line in self._line.stdout or ():
            self._lines.put(line)


@contextmanager
def open_in(container: str, kamcmd: Command) -> Iterator[Phone]:
    """A phone in a running container that has Perl, and Kamailio in its network namespace."""
    sockets = [f"{name}={place}" for name, place in SOCKETS.items()]
    command = ["docker", "exec", "--interactive", container, "perl", "-e", RELAY.read_text(), *sockets]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as line:
        assert line.stdout
        assert line.stdout.readline() == "ready\n"
        phone = Phone(line, kamcmd)
        try:
            yield phone
        finally:
            phone.close()


def request(
    method: str,
    uri: str,
    call: str,
    *,
    cseq: int = 1,
    sender: str = f"sip:test0@{DOMAIN}",
    sender_tag: str = "caller",
    to: str = "",
    to_tag: str = "",
    via: str = "127.0.0.1:5070",
    max_forwards: int = 70,
    branch: str = "",
    headers: tuple[str, ...] = (),
) -> str:
    """A request; to its sender when it says nothing else, as a REGISTER is."""
    return "\r\n".join(
        (
            f"{method} {uri} SIP/2.0",
            f"Via: SIP/2.0/UDP {via};branch={branch or f'z9hG4bK-{call}-{cseq}-{method}'}",
            f"Max-Forwards: {max_forwards}",
            f"From: <{sender}>;tag={sender_tag}",
            f"To: <{to or sender}>" + (f";tag={to_tag}" if to_tag else ""),
            f"Call-ID: {call}",
            f"CSeq: {cseq} {method}",
            *headers,
            "Content-Length: 0",
            "\r\n",
        )
    )


def reply(to: Datagram, code: int, reason: str, *headers: str, tag: str = "callee") -> str:
    """A reply to a request that one got; `tag` is for what has none yet."""
    copied = [line for line in to.text.split("\r\n") if re.match(r"(Via|Record-Route|From|To|Call-ID|CSeq):", line)]
    tagged = [f"{line};tag={tag}" if re.match(r"To:(?!.*;tag=)", line) else line for line in copied]
    return "\r\n".join((f"SIP/2.0 {code} {reason}", *tagged, *headers, "Content-Length: 0", "\r\n"))


def credentials(challenge: Datagram, method: str, uri: str, user: str, password: str) -> str:
    """The header that answers a digest challenge (RFC 2617, no qop)."""
    proxy = challenge.first.startswith("407")
    asked = challenge.header("Proxy-Authenticate" if proxy else "WWW-Authenticate")
    realm, nonce = (re.findall(rf'{name}="([^"]*)"', asked)[0] for name in ("realm", "nonce"))
    response = _md5(f"{_md5(f'{user}:{realm}:{password}')}:{nonce}:{_md5(f'{method}:{uri}')}")
    return (
        f'{"Proxy-" if proxy else ""}Authorization: Digest username="{user}", realm="{realm}", nonce="{nonce}", '
        f'uri="{uri}", response="{response}", algorithm=MD5'
    )


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
