"""A loopback server of the Messages API: real HTTP, real server-sent events, scripted replies and faults.

Each POST takes the next line of the script. A line is a reply (`say`, `call`, `message`) or a `Fault`. Requests are
kept whole in `requests`, so that tests can look at what was sent.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Body = dict[str, Any]


@dataclass(frozen=True)
class Fault:
    """What goes wrong with one answer; `reply` is the answer it happens to, where there is one.

    `kind`: status (an HTTP error with `status`, `headers`, `body`) | cut (close after `at` bytes of the stream) |
    end (a clean end after `at` events) | reset (a TCP reset after `at` bytes) | stall (`seconds` of silence after
    `at` bytes) | bytes (one byte a packet) | error (an error event after `at` events) | garbage (an event that is
    not JSON after `at` events) | whole (one JSON object, as from a server that does not stream) | gzip (the stream,
    compressed) | events (the events in `body` instead of the reply's) | after (the stream, then the bytes in `body`).
    """

    kind: str
    reply: Body | None = None
    at: int = 0
    status: int = 500
    headers: dict[str, str] = field(default_factory=dict)
    body: Any = None
    seconds: float = 0.0


Line = Body | Fault | Callable[[Body], Body]


def message(blocks: list[Body], stop_reason: str, **usage: int) -> Body:
    """A whole message as the API would return it."""
    return {
        "type": "message",
        "role": "assistant",
        "content": blocks,
        "stop_reason": stop_reason,
        "stop_sequence": None,
        "usage": {"input_tokens": 1000, "output_tokens": 50, **usage},
    }


def say(text: str, stop_reason: str = "end_turn", **usage: int) -> Body:
    """A message of text alone."""
    return message([{"type": "text", "text": text}], stop_reason, **usage)


def call(name: str, id: str = "toolu_1", text: str = "", **input: Any) -> Body:  # noqa: A002
    """A message with one tool call."""
    blocks: list[Body] = [{"type": "text", "text": text}] if text else []
    return message([*blocks, {"type": "tool_use", "id": id, "name": name, "input": input}], "tool_use")


def error(kind: str, text: str, **details: Any) -> Body:
    """The body of an API error."""
    return {"type": "error", "error": {"type": kind, "message": text, **({"details": details} if details else {})}}


def events(reply: Body, model: str = "test", piece: int = 16) -> list[Body]:
    """The stream of a message, its texts and inputs in pieces of `piece` characters."""
    start = {**reply, "id": "msg_1", "model": model, "content": [], "stop_reason": None, "stop_details": None}
    start["usage"] = {**reply["usage"], "output_tokens": 1}
    out: list[Body] = [{"type": "message_start", "message": start}]
    for index, block in enumerate(reply["content"]):
        empty, pieces = _pieces(block, piece)
        out.append({"type": "content_block_start", "index": index, "content_block": empty})
        out += [{"type": "content_block_delta", "index": index, "delta": delta} for delta in pieces]
        out.append({"type": "content_block_stop", "index": index})
    delta = {"stop_reason": reply["stop_reason"], "stop_sequence": None, "stop_details": reply.get("stop_details")}
    out.append({"type": "message_delta", "delta": delta, "usage": {"output_tokens": reply["usage"]["output_tokens"]}})
    out.append({"type": "message_stop"})
    return out


def _pieces(block: Body, piece: int) -> tuple[Body, list[Body]]:
    if block["type"] == "text":
        return {"type": "text", "text": ""}, [{"type": "text_delta", "text": part} for part in _cut(block["text"], piece)]
    if block["type"] == "thinking":
        parts: list[Body] = [{"type": "thinking_delta", "thinking": part} for part in _cut(block["thinking"], piece)]
        return {"type": "thinking", "thinking": "", "signature": ""}, [
            *parts,
            {"type": "signature_delta", "signature": block["signature"]},
        ]
    if block["type"] == "tool_use":
        text = block.get("raw_input") or json.dumps(block["input"], ensure_ascii=False)
        empty = {"type": "tool_use", "id": block["id"], "name": block["name"], "input": {}}
        return empty, [{"type": "input_json_delta", "partial_json": part} for part in _cut(text, piece)]
    return block, []


def _cut(text: str, piece: int) -> list[str]:
    return [text[at : at + piece] for at in range(0, len(text), piece)]


def wire(stream: Iterable[Body]) -> bytes:
    """Events as they go over the wire."""
    return b"".join(f"event: {event['type']}\ndata: {json.dumps(event, ensure_ascii=False)}\n\n".encode() for event in stream)


class _Quiet(ThreadingHTTPServer):
    """A client that is gone is no news: a trace of it would be found among the output of whichever test comes next."""

    daemon_threads = True

    def handle_error(self, *request: object) -> None:
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(*request)  # type: ignore[arg-type]


class MessagesServer:
    """Answers with a script; use as a context manager. `url` is the base URL."""

    def __init__(self, script: Iterable[Line] = (), delay_s: float = 0.0, port: int = 0) -> None:
        self.script: Iterator[Line] = iter(script)
        self.requests: list[Body] = []
        self.headers: list[dict[str, str]] = []
        self.times: list[float] = []
        """When each request came, on the monotonic clock."""
        self.delay_s = delay_s
        self.models: tuple[str, ...] = ("test",)
        """What a GET lists."""
        self.refuse: tuple[int, Body] | None = None
        """Status and error that a GET gets instead of the models."""
        owner = self

        class Handler(_Handler):
            server_owner = owner

        self.server = _Quiet(("127.0.0.1", port), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    def __enter__(self) -> MessagesServer:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join(5)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_owner: MessagesServer

    def log_message(self, *_: object) -> None:
        """Silence."""

    def do_GET(self) -> None:
        """A list of one model, as local servers give."""
        refuse = self.server_owner.refuse
        rows = [{"type": "model", "id": name} for name in self.server_owner.models]
        self._json(*(refuse or (200, {"data": rows, "has_more": False})))

    def do_POST(self) -> None:
        """The next line of the script."""
        body = json.loads(self.rfile.read(int(self.headers.get("content-length", 0))) or b"{}")
        owner = self.server_owner
        owner.requests.append(body)
        owner.times.append(time.monotonic())
        owner.headers.append({key.lower(): value for key, value in self.headers.items()})
        line = next(owner.script, None)
        if line is None:
            self._json(500, error("api_error", "the script of this test server is at its end"), {"x-should-retry": "false"})
            return
        time.sleep(owner.delay_s)
        if callable(line):
            line = line(body)
        fault = line if isinstance(line, Fault) else Fault("none", line)
        if fault.kind == "whole":
            self._json(fault.status if fault.status != 500 else 200, fault.reply or fault.body, fault.headers)
            return
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self._answer(fault, body)

    def _answer(self, fault: Fault, body: Body) -> None:
        if fault.kind == "status":
            self._json(fault.status, fault.body, fault.headers)
            return
        assert fault.reply is not None or fault.kind == "events"
        stream = fault.body if fault.kind == "events" else events(fault.reply or {}, body["model"])
        if fault.kind == "end":
            stream = stream[: fault.at]
        elif fault.kind == "error":
            stream = [*stream[: fault.at], fault.body]
        data = wire(stream)
        if fault.kind == "garbage":
            data = wire(stream[: fault.at]) + b"event: content_block_delta\ndata: {not json\n\n"
        if fault.kind == "after":
            data += fault.body
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("connection", "close")
        if fault.kind == "gzip":
            data = gzip.compress(data)
            self.send_header("content-encoding", "gzip")
        self.end_headers()
        self.close_connection = True
        if fault.kind == "bytes":
            for at in range(len(data)):
                self.wfile.write(data[at : at + 1])
            return
        if fault.kind in ("cut", "reset", "stall"):
            self.wfile.write(data[: fault.at])
            self.wfile.flush()
            time.sleep(fault.seconds)
            if fault.kind == "stall":
                self.wfile.write(data[fault.at :])
            if fault.kind == "reset":
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.connection.close()
            return
        self.wfile.write(data)

    def _json(self, status: int, value: Any, headers: dict[str, str] | None = None) -> None:
        data = value.encode() if isinstance(value, str) else json.dumps(value).encode()
        self.send_response(status)
        self.send_header("content-type", "text/html" if isinstance(value, str) else "application/json")
        self.send_header("content-length", str(len(data)))
        for name, text in (headers or {}).items():
            self.send_header(name, text)
        self.end_headers()
        self.wfile.write(data)
