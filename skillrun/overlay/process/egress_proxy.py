"""The only way out of a view with a closed network: an HTTP proxy that lets named hosts through and notes every one.

Its listening socket was made inside the view's empty network and passed out, so the proxy answers in there
and dials out here. Names are decided on as the client gave them; a host that holds other people's content
(a code forge) can still carry data out: this is a record and a fence, not a wall. Where somebody is there to say, a
connection to any other host is held until they have (`asking`, `wish`, `answer`).
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import os
import re
import socket
import threading
import urllib.parse
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from skillrun.overlay.process.init import PROXY_PORT

WEB_PORTS = frozenset({80, 443})
HELD_S = 300.0
"""How long a connection waits for somebody to say whether it may be."""
_NAME = re.compile(r"(?=[^.]*\.)[a-z0-9.-]{4,253}")
_HOST = re.compile(r"[a-z0-9._-]{1,253}|[0-9a-f:.]{2,45}")
_HEAD_LIMIT = 64 * 1024


@dataclass(frozen=True, slots=True)
class Contact:
    """A host that was asked for. `sent` and `received`: bytes through the tunnel, 0 when it was refused."""

    host: str
    port: int
    allowed: bool
    sent: int = 0
    received: int = 0


def is_allowed(host: str, port: int, patterns: Iterable[str]) -> bool:
    """True when a pattern names the host: `example.org`, `*.example.org` (its subdomains), `*`, with `:port` for odd ports.

    Without a port in the pattern only the web's ports are meant, and a bare address must be named itself.
    """
    host = host.lower().rstrip(".")
    for pattern in patterns:
        name, _, wanted = pattern.lower().rpartition(":") if pattern.count(":") == 1 else (pattern.lower(), "", "")
        if port != int(wanted or 0) and (wanted or port not in WEB_PORTS):
            continue
        if name == host or (name == "*" and not _is_address(host)) or (name.startswith("*.") and host.endswith(name[1:])):
            return True
    return False


def _is_address(host: str) -> bool:
    with contextlib.suppress(ValueError):
        ipaddress.ip_address(host.strip("[]"))
        return True
    return False


def proxy_environment() -> dict[str, str]:
    """What programs inside read to find the proxy."""
    url = f"http://127.0.0.1:{PROXY_PORT}"
    names = ("http_proxy", "https_proxy", "all_proxy")
    found = {name: url for lower in names for name in (lower, lower.upper())}
    return {**found, "no_proxy": "localhost,127.0.0.1", "NO_PROXY": "localhost,127.0.0.1", "NODE_USE_ENV_PROXY": "1"}


class Egress:
    """A proxy in a thread of its own, until `close`."""

    def __init__(
        self, listener: int, patterns: Iterable[str], environment: Mapping[str, str] | None = None, named: Iterable[str] = ()
    ) -> None:
        """`listener` is taken over. `environment`: where an upstream proxy is named (default: this process's).

        `named`: patterns that a stranger gave: they are let through to where everybody can go, not into a private network.
        """
        self._patterns, self._named = tuple(patterns), tuple(named)
        self._admitted: frozenset[str] = frozenset()
        self._agreed: frozenset[str] = frozenset()
        self._environment = os.environ if environment is None else environment
        self.asking = False
        """Somebody is there to be asked about other hosts: whoever sets this answers every `wish`."""
        self._bell, self._ring = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._wishes: dict[str, tuple[asyncio.Future[bool], str]] = {}
        self._told: set[str] = set()
        self._contacts: list[Contact] = []
        self._loop = asyncio.new_event_loop()
        self._listener = socket.socket(fileno=listener)
        self._listener.setblocking(False)
        self._done: asyncio.Event | None = None
        started = threading.Event()
        self._thread = threading.Thread(target=lambda: self._loop.run_until_complete(self._serve(started)), daemon=True)
        self._thread.start()
        started.wait()

    def admit(self, hosts: Iterable[str], by_person: bool = False) -> None:
        """Let these hosts through as well, at every port, in place of those admitted before.

        `by_person`: somebody read what contacts them, so that they may be anywhere but on this machine itself.
        """
        self._admitted = frozenset(host.lower() for host in hosts if not is_here(host))
        self._agreed = self._admitted if by_person else frozenset()

    def fileno(self) -> int:
        """For poll: readable when there is a wish."""
        return self._bell

    def wish(self) -> tuple[str, str]:
        """A host (`name`, or `name:port`) that somebody inside waits to be let through to, and why that is a question.

        Both are empty when there is none.
        """
        with contextlib.suppress(BlockingIOError):
            os.read(self._bell, 1)
        return next(((name, wish[1]) for name, wish in tuple(self._wishes.items()) if name not in self._told), ("", ""))

    def answer(self, name: str, allowed: bool) -> None:
        """Let it through, now and later, or refuse it; who waits for it goes on."""
        self._told.add(name)
        self._loop.call_soon_threadsafe(self._wishes[name][0].set_result, allowed)

    async def _wished(self, host: str, port: int, why: str) -> bool:
        """Ask about a host, each once. This machine's own addresses are no host that could be meant."""
        if is_here(host) or not _NAME.fullmatch(host):
            return False
        name = host if port in WEB_PORTS else f"{host}:{port}"
        if name not in self._wishes:
            if not self.asking:
                return False
            self._wishes[name] = self._loop.create_future(), why
            os.write(self._ring, b".")
        with contextlib.suppress(TimeoutError):
            return await asyncio.wait_for(asyncio.shield(self._wishes[name][0]), HELD_S)
        return False

    def contacts(self) -> tuple[Contact, ...]:
        """Every host asked for so far, in order."""
        return tuple(self._contacts)

    def close(self) -> None:
        """Stop answering."""
        if self._done is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._done.set)
            self._thread.join()
            self._loop.close()
            os.close(self._bell)
            os.close(self._ring)

    async def _serve(self, started: threading.Event) -> None:
        self._done = asyncio.Event()
        server = await asyncio.start_server(self._client, sock=self._listener, limit=_HEAD_LIMIT)
        started.set()
        await self._done.wait()
        server.close()
        rest = asyncio.all_tasks() - {asyncio.current_task()}
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)
        await asyncio.sleep(0)  # a closed transport lets go of its socket in the loop's next round

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError):
                head = await reader.readuntil(b"\r\n\r\n")
                await self._request(head, reader, writer)
        finally:
            writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()

    async def _outside(self, host: str, port: int, scheme: str, anywhere: bool) -> str:
        """Where to connect for a host: the very address that was looked at. Raises OSError where a name leads to this machine.

        A name that is allowed says nothing of where it leads: whoever owns it could point it at what listens here.
        """
        if host == "localhost" or _is_address(host) or upstream(self._environment, scheme):
            return host
        addresses = await self._addresses(host, port)
        named = any(host == pattern.lower().partition(":")[0] for pattern in self._patterns)
        if any(is_own(address) or (not named and _is_assigned(address)) for address in addresses):
            raise OSError(f"{host} leads to this machine itself")
        if not anywhere and any(map(is_inner, addresses)):  # looked up once more, and it may have become another
            raise OSError(f"{host} leads into a private network")
        return addresses[0]

    async def _addresses(self, host: str, port: int) -> list[str]:
        if _is_address(host):
            return [host.strip("[]")]
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        return [str(entry[4][0]) for entry in found]

    async def _lets(self, host: str, port: int, scheme: str) -> tuple[bool, bool]:
        """May this be connected to, and may it be in a private network? That takes somebody's word if a stranger named it."""
        name = host.rstrip(".")
        if is_allowed(host, port, self._patterns) or name in self._agreed:
            return True, True
        if not is_allowed(host, port, self._named) and name not in self._admitted:
            return await self._wished(
                name, port, "which nobody named"
            ), False  # where a name leads, a yes to it says nothing of
        inner = False
        if _is_address(host) or not upstream(self._environment, scheme):
            with contextlib.suppress(OSError):
                inner = any(map(is_inner, await self._addresses(host, port)))
        return not inner or await self._wished(name, port, "which leads into your own network"), inner

    async def _request(self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first, _, headers = head.partition(b"\r\n")
        method, url, version = first.decode("latin-1").split(" ")
        if not re.fullmatch(r"[A-Z]+ [!-~]+ HTTP/1\.[01]", f"{method} {url} {version}"):
            return
        tunnel = method == "CONNECT"
        parts = urllib.parse.urlsplit(f"//{url}" if tunnel else url)
        host, port = parts.hostname or "", parts.port or (443 if tunnel else 80)
        if not _HOST.fullmatch(host) or not (tunnel or parts.scheme == "http"):
            return  # two who read it might read two hosts
        scheme = "https" if tunnel else "http"
        let, anywhere = await self._lets(host, port, scheme)
        if not let:
            self._contacts.append(Contact(host, port, False))
            body = f"{host}:{port} is not among the hosts this run may contact\n".encode()
            writer.write(b"HTTP/1.1 403 Forbidden\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
            await writer.drain()
            return
        number = len(self._contacts)
        self._contacts.append(Contact(host, port, True))
        try:
            out_reader, out_writer, through = await dial(
                await self._outside(host, port, scheme, anywhere), port, scheme, tunnel, self._environment
            )
        except (OSError, ValueError) as error:
            head = f"HTTP/1.1 502 {reason_of(error)}\r\nConnection: close\r\n\r\n".encode("ascii", "replace")
            writer.write(head + str(error).encode("utf-8", "replace"))
            await writer.drain()
            return
        try:
            most = -1
            if tunnel:
                writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            else:
                where = f"[{host}]" if ":" in host else host
                where += f":{parts.port}" if parts.port else ""
                origin = ("http", where) if through else ("", "")
                target = urllib.parse.urlunsplit((*origin, parts.path or "/", parts.query, ""))
                most = _body(headers) if through else -1
                out_writer.write(f"{method} {target} {version}\r\n".encode("latin-1") + _forwarded(headers, where))
            sent, received = await asyncio.gather(pump(reader, out_writer, most), pump(out_reader, writer))
        finally:
            out_writer.close()
        self._contacts[number] = Contact(host, port, True, sent, received)


def is_here(host: str) -> bool:
    """Does a host, by name or as an address, mean the machine it is said on?"""
    return host.lower().rstrip(".") == "localhost" or (_is_address(host) and is_own(host.strip("[]")))


def is_own(address: str) -> bool:
    """Is it this machine itself, or its link: loopback, link-local (a cloud's metadata), unspecified, multicast?"""
    found = ipaddress.ip_address(address.partition("%")[0])
    mapped = getattr(found, "ipv4_mapped", None) or found
    return mapped.is_loopback or mapped.is_link_local or mapped.is_unspecified or mapped.is_multicast


def is_inner(address: str) -> bool:
    """Is it in a network that only some can reach: a private one, this machine's link, this machine?"""
    found = ipaddress.ip_address(address.partition("%")[0])
    mapped = getattr(found, "ipv4_mapped", None) or found
    return is_own(address) or mapped.is_private or _is_assigned(address)


def _is_assigned(text: str) -> bool:
    """Has this machine the address? Then what is sent to it is sent from it; nothing is sent to find out."""
    found = ipaddress.ip_address(text.partition("%")[0])
    address = getattr(found, "ipv4_mapped", None) or found
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as one:
        one.connect((str(address), 9))
        return str(one.getsockname()[0]).partition("%")[0] == str(address)
    return False


def upstream(environment: Mapping[str, str], scheme: str) -> str:
    """The proxy that an environment names for http or https; empty when it names none."""
    names = (f"{scheme}_proxy", f"{scheme.upper()}_PROXY", "all_proxy", "ALL_PROXY")
    return next((value for name in names if (value := environment.get(name))), "")


def reason_of(error: Exception) -> str:
    """Why nothing was reached, in the system's words: programs show a proxy's first line and nothing else of its answer."""
    if isinstance(error, socket.gaierror):
        return str(error.strerror)
    numbers = re.findall(r"\[Errno (\d+)\]", str(error)) if isinstance(error, OSError) else []
    return os.strerror(int(numbers[-1])) if numbers else "Bad Gateway"


async def dial(
    host: str, port: int, scheme: str, tunnel: bool, environment: Mapping[str, str]
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter, bool]:
    """A connection to a host, and whether it leads to the proxy the environment names. Raises OSError, ValueError.

    `tunnel`: have that proxy connect through to the host.
    """
    named = upstream(environment, scheme)
    if not named:
        return *await asyncio.open_connection(host, port), False
    proxy = urllib.parse.urlsplit(named if "//" in named else f"//{named}")
    reader, writer = await asyncio.open_connection(proxy.hostname, proxy.port or 3128)
    if tunnel:
        writer.write(f"CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode("latin-1"))
        answer = await reader.readuntil(b"\r\n\r\n")
        if b" 200" not in answer.partition(b"\r\n")[0]:
            writer.close()
            raise OSError("the proxy of this machine refused")
    return reader, writer, True


def _body(headers: bytes) -> int:
    """How many bytes belong to a request: what comes behind them would be another one to the proxy of this machine.

    Raises ValueError where that is not said in one way.
    """
    if re.search(rb"(?im)^\s*transfer-encoding\s*:", headers):
        raise ValueError("a length is needed")
    found = {value.strip() for value in re.findall(rb"(?im)^content-length\s*:([^\r\n]*)", headers)} or {b"0"}
    (length,) = found
    if not re.fullmatch(rb"[0-9]{1,18}", length):
        raise ValueError("a length is needed")
    return int(length)


def _forwarded(headers: bytes, host: str) -> bytes:
    """Headers for the host: none of the proxy's own, no other host's name, and one request a connection."""
    lines = [line for line in headers.split(b"\r\n") if line and not re.search(rb"[\r\n\0]|^\s", line)]
    kept = [line for line in lines if not re.match(rb"(?i)proxy-|(?:connection|keep-alive|host)\s*:", line)]
    return b"\r\n".join([b"Host: " + host.rpartition("@")[2].encode("latin-1"), *kept, b"Connection: close", b"", b""])


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, most: int = -1) -> int:
    """Carry bytes until the reader's end; how many. Behind `most` of them the rest is thrown away."""
    count = 0
    with contextlib.suppress(OSError):
        while part := await reader.read(65536):
            part = part if most < 0 else part[: most - count]
            writer.write(part)
            count += len(part)
            await writer.drain()
    with contextlib.suppress(OSError, RuntimeError):
        if writer.can_write_eof():
            writer.write_eof()
    return count
