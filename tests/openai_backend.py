"""A scripted backend of the OpenAI chat API, for servers that stand in front of one: streamed pieces, tool calls, errors."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Line = dict[str, Any]


def says(text: str, **calls: dict[str, Any]) -> Line:
    """A reply of text and tool calls, each by its name."""
    return {"text": text, "calls": list(calls.items())}


def fails(status: int, message: str) -> Line:
    """An error."""
    return {"status": status, "message": message}


class OpenAIBackend:
    """Answers each chat completion with the next line; use as a context manager. `url` is its base, with `/v1`."""

    def __init__(self, script: Iterable[Line]) -> None:
        self.script: Iterator[Line] = iter(script)
        self.requests: list[dict[str, Any]] = []
        owner = self

        class Handler(_Handler):
            backend = owner

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/v1"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    def __enter__(self) -> OpenAIBackend:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join(5)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    backend: OpenAIBackend

    def log_message(self, *_: object) -> None:
        """Silence."""

    def do_GET(self) -> None:
        """A list of one model."""
        self._json(200, {"object": "list", "data": [{"id": "backend", "object": "model"}]})

    def do_POST(self) -> None:
        """The next line, streamed where that was asked for."""
        body = json.loads(self.rfile.read(int(self.headers.get("content-length", 0))) or b"{}")
        self.backend.requests.append(body)
        line = next(self.backend.script, fails(500, "the script of this backend is at its end"))
        if "status" in line:
            self._json(line["status"], {"error": {"message": line["message"], "type": "backend_error", "code": None}})
            return
        if not body.get("stream"):
            self._json(200, self._whole(line))
            return
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("connection", "close")
        self.end_headers()
        self.close_connection = True
        for piece in self._pieces(line):
            self.wfile.write(f"data: {json.dumps(piece)}\n\n".encode())
            self.wfile.flush()
        self.wfile.write(b"data: [DONE]\n\n")

    @staticmethod
    def _tools(line: Line) -> list[dict[str, Any]]:
        return [
            {"id": f"call_{name}", "type": "function", "function": {"name": name, "arguments": json.dumps(given)}}
            for name, given in line["calls"]
        ]

    def _whole(self, line: Line) -> dict[str, Any]:
        message = {"role": "assistant", "content": line["text"], "tool_calls": self._tools(line) or None}
        end = "tool_calls" if line["calls"] else "stop"
        usage = {"prompt_tokens": 900, "completion_tokens": 30, "total_tokens": 930}
        return {**_HEAD, "object": "chat.completion", "choices": [{"index": 0, "message": message, "finish_reason": end}]} | {
            "usage": usage
        }

    def _pieces(self, line: Line) -> Iterator[dict[str, Any]]:
        def piece(delta: dict[str, Any], end: str | None = None) -> dict[str, Any]:
            return {**_HEAD, "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": delta, "finish_reason": end}]}

        yield piece({"role": "assistant", "content": ""})
        for at in range(0, len(line["text"]), 7):
            yield piece({"content": line["text"][at : at + 7]})
        for index, tool in enumerate(self._tools(line)):
            text = tool["function"].pop("arguments")
            yield piece({"tool_calls": [{"index": index, **tool, "function": {**tool["function"], "arguments": ""}}]})
            for at in range(0, len(text), 11):
                yield piece({"tool_calls": [{"index": index, "function": {"arguments": text[at : at + 11]}}]})
        yield piece({}, "tool_calls" if line["calls"] else "stop")
        yield {**_HEAD, "object": "chat.completion.chunk", "choices": [], "usage": {
            "prompt_tokens": 900, "completion_tokens": 30, "total_tokens": 930}}  # fmt: skip

    def _json(self, status: int, value: Any) -> None:
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


_HEAD = {"id": "chatcmpl-1", "created": 1, "model": "backend"}
