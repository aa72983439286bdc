"""A throw-away machine's way out to named hosts and nowhere else, with a record of every host that was asked for.

Nothing inside has to know of it: there is no proxy to name. The machine's packets go through slirp4netns into a second
network namespace in which every address is local (ip-route(8), type local). A name server there gives each name that may be
contacted an address of its own, out of a range nobody has (RFC 2544), and what connects to that address is carried to the
name from this process's own network. Like the proxy of views this is a record and a fence, not a wall.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import ipaddress
import os
import socket
import struct
import threading
from collections.abc import Iterable, Mapping

from skillrun.overlay.kernel import syscalls as ns
from skillrun.overlay.mount.machine import UP
from skillrun.overlay.process.egress_proxy import WEB_PORTS, Contact, dial, is_allowed, pump, upstream
from skillrun.sandbox.names import Question, answer, read_question, refusal
from skillrun.sandbox.network import UserNetwork

ADDRESS = "198.18.0.1"
"""Where the name server answers inside."""
_FIRST = int(ipaddress.ip_address("198.18.1.0"))
_LONGEST = 1232
"""Bytes of a name server's question that are read."""


class Gateway:
    """The network of one machine, until `close`. Raises NoNetwork, OSError when it cannot be made."""

    def __init__(self, pid: int, patterns: Iterable[str], environment: Mapping[str, str] | None = None) -> None:
        """`pid`: who holds the machine's network namespace. `patterns`: hosts as `view.egress.is_allowed` reads them.

        `environment`: where an upstream proxy is named (default: this process's).
        """
        self._patterns = tuple(patterns)
        self._environment = os.environ if environment is None else environment
        given = (pattern.rpartition(":")[2] for pattern in self._patterns if pattern.count(":") == 1)
        self._ports = sorted(WEB_PORTS | {int(port) for port in given if port.isdigit()})
        self._contacts: list[Contact] = []
        self._held: set[asyncio.Task[object]] = set()
        self._addresses: dict[str, str] = {}
        self._names: dict[str, str] = {}
        self._done: asyncio.Event | None = None
        outside = _Outside(self._ports)
        try:
            self._network = UserNetwork(pid, outside.namespace)
        except BaseException:
            outside.close()
            raise
        finally:
            os.close(outside.namespace)
        self._loop = asyncio.new_event_loop()
        started = threading.Event()
        self._thread = threading.Thread(
            target=lambda: self._loop.run_until_complete(self._serve(outside, started)), daemon=True
        )
        self._thread.start()
        started.wait()

    def contacts(self) -> tuple[Contact, ...]:
        """Every host asked for so far, in order; port 0: only its name, which was refused."""
        return tuple(self._contacts)

    def close(self) -> None:
        """Cut the machine off. Safe to call twice."""
        self._network.close()
        if self._done is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._done.set)
            self._thread.join()
            self._loop.close()

    async def _serve(self, outside: _Outside, started: threading.Event) -> None:
        self._done = asyncio.Event()
        servers = [await asyncio.start_server(self._connection, sock=listener) for listener in outside.listeners]
        names = asyncio.create_task(self._answer_names(outside.names))
        started.set()
        await self._done.wait()
        for server in servers:
            server.close()
        names.cancel()
        while rest := asyncio.all_tasks() - {asyncio.current_task()}:  # what was just accepted becomes a task only meanwhile
            for task in rest:
                task.cancel()
            await asyncio.gather(*rest, return_exceptions=True)
            await asyncio.sleep(0)
        outside.names.close()
        await asyncio.sleep(0)  # a closed transport lets go of its socket in the loop's next round

    async def _answer_names(self, server: socket.socket) -> None:
        waiting: set[asyncio.Task[None]] = set()
        while True:
            data, client = await self._loop.sock_recvfrom(server, _LONGEST)
            question = read_question(data)
            if question:
                task = asyncio.create_task(self._answer(server, question, client))
                waiting.add(task)
                task.add_done_callback(waiting.discard)

    async def _answer(self, server: socket.socket, question: Question, client: tuple[str, int]) -> None:
        known = await self._is_known(question)
        reply = answer(question, self._address(question.name) if question.wants_address else "") if known else refusal(question)
        with contextlib.suppress(OSError):
            await self._loop.sock_sendto(server, reply, client)

    async def _is_known(self, question: Question) -> bool:
        """May this name be contacted, and is there such a host?"""
        if not any(is_allowed(question.name, port, self._patterns) for port in self._ports):
            if question.wants_address:
                self._contacts.append(Contact(question.name, 0, False))
            return False
        if question.name in self._addresses or upstream(self._environment, "https"):
            return True
        try:
            return bool(await self._loop.getaddrinfo(question.name, None))
        except OSError:
            return False

    def _address(self, name: str) -> str:
        if name not in self._addresses:
            address = str(ipaddress.ip_address(_FIRST + len(self._addresses)))
            self._addresses[name], self._names[address] = address, name
        return self._addresses[name]

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # the loop itself keeps none of these: one whose ends both stand still would be collected unfinished
        if task := asyncio.current_task():
            self._held.add(task)
            task.add_done_callback(self._held.discard)
        address, port = writer.get_extra_info("sockname")
        host = self._names.get(address, address)
        number = len(self._contacts)
        self._contacts.append(Contact(host, port, is_allowed(host, port, self._patterns)))
        try:
            if self._contacts[number].allowed:
                out_reader, out_writer, _ = await dial(host, port, "https", True, self._environment)
                try:
                    sent, received = await asyncio.gather(pump(reader, out_writer), pump(out_reader, writer))
                finally:
                    out_writer.close()
                self._contacts[number] = Contact(host, port, True, sent, received)
        except (OSError, ValueError, asyncio.IncompleteReadError):
            # To the program inside a connection that could not be made looks like one that was cut.
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        finally:
            writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


class _Outside:
    """The second namespace: every address is local in it, and sockets of ours listen there."""

    def __init__(self, ports: Iterable[int]) -> None:
        self.listeners: list[socket.socket] = []
        self._error: OSError | None = None
        # A thread may be in another network namespace than its process, and what it makes there stays there.
        maker = threading.Thread(target=self._make, args=(tuple(ports),))
        maker.start()
        maker.join()
        if self._error:
            self.close()
            raise self._error

    def _make(self, ports: tuple[int, ...]) -> None:
        try:
            ns.unshare(ns.CLONE_NEWNET)
            self.namespace = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
                fcntl.ioctl(control, 0x8914, UP)  # SIOCSIFFLAGS
            _make_all_local()
            for port in ports:
                self.listeners.append(socket.create_server(("0.0.0.0", port), backlog=128))
            self.names = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self.names.bind((ADDRESS, 53))
            for made in (*self.listeners, self.names):
                made.setblocking(False)
        except OSError as error:
            self._error = error

    def close(self) -> None:
        for made in (*self.listeners, *([self.names] if hasattr(self, "names") else [])):
            made.close()


def _make_all_local() -> None:
    """`ip route add local default dev lo` (rtnetlink(7)). Raises OSError."""
    lo = struct.pack("=HHI", 8, 4, socket.if_nametoindex("lo"))  # RTA_OIF
    # AF_INET, no prefix, table local, set by an administrator, scope host, type local.
    route = struct.pack("=8BI", socket.AF_INET, 0, 0, 0, 255, 4, 254, 2, 0) + lo
    # RTM_NEWROUTE; NLM_F_REQUEST, NLM_F_ACK, NLM_F_EXCL, NLM_F_CREATE
    request = struct.pack("=IHHII", 16 + len(route), 24, 0x605, 1, 0) + route
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as kernel:
        kernel.send(request)
        (number,) = struct.unpack_from("=i", kernel.recv(4096), 16)
    if number:
        raise OSError(-number, f"a route was refused: {os.strerror(-number)}")
