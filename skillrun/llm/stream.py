"""One message put together from the events of a stream, strictly: what is not whole is not used.

A stream that is cut raises nothing by itself and leaves a tool call with an empty or partial input. So a
message counts only when `message_stop` was seen, and each block only when its own stop was. Strict is what decides
whether to act; lenient is how it is spelt: local servers leave out an index or an id, or send text for an object.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from skillrun.events import ToolCall, Usage


class StreamBroken(Exception):
    """The stream is not a message: cut, out of order, or not the expected format. Asking again may help."""


class ServerSaid(Exception):
    """An error event in mid-stream, where the HTTP status was already 200. `kind` is the API's error type."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


MOST_CHARACTERS = 8_000_000
"""More than any reply holds: a server that sends more is not sending a reply."""


class Message:
    """A message in the making. Feed it every event; `complete` says whether it may be acted upon."""

    def __init__(self) -> None:
        self.started = self.complete = False
        self.stop_reason = ""
        self.stop_details: Mapping[str, Any] = {}
        self._blocks: dict[int, dict[str, Any]] = {}
        self._json: dict[int, list[str]] = {}
        self._closed: set[int] = set()
        self._place: dict[int, int] = {}
        self._usage: dict[str, int] = {}
        self._written = 0

    def feed(self, event: Any) -> str:
        """Take one event; returns the text a person can be shown now. Raises StreamBroken, ServerSaid."""
        kind = event.get("type") if isinstance(event, Mapping) else type(event).__name__
        try:
            if kind == "message_start":
                self.started = True
                self._count(event["message"].get("usage"))
            elif kind == "content_block_start":
                return self._start(event.get("index"), event["content_block"])
            elif kind == "content_block_delta":
                return self._delta(self._which(event), event["delta"])
            elif kind == "content_block_stop":
                self._stop(self._which(event))
            elif kind == "message_delta":
                self.stop_reason = str(event["delta"].get("stop_reason") or self.stop_reason)
                self.stop_details = _mapping(event["delta"].get("stop_details"))
                self._count(event.get("usage"))
            elif kind == "message_stop":
                self._end()
            elif kind == "error" or (kind is None and event.get("error")):
                raise _said(event.get("error"))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise StreamBroken(f"a {kind} event of an unexpected form ({error!r})") from error
        return ""

    def take(self, body: Any) -> str:
        """Take a whole message that came as one JSON object: some servers do not stream. Raises as `feed` does."""
        if not isinstance(body, Mapping) or (body.get("type") != "message" and not body.get("error")):
            raise StreamBroken("the answer is no message")
        if body.get("error"):
            raise _said(body["error"])
        blocks = body.get("content")
        events: list[Mapping[str, Any]] = [{"type": "message_start", "message": body}]
        for index, block in enumerate(blocks if isinstance(blocks, list) else ()):
            events.append({"type": "content_block_start", "index": index, "content_block": block})
            events.append({"type": "content_block_stop", "index": index})
        end = {"stop_reason": body.get("stop_reason"), "stop_details": body.get("stop_details")}
        events += [{"type": "message_delta", "delta": end}, {"type": "message_stop"}]
        return "".join([self.feed(event) for event in events])

    def _which(self, event: Mapping[str, Any]) -> int:
        """The block an event is about: where no index is given, the last one that began."""
        given = event.get("index")
        return max(self._blocks, default=0) if given is None else self._place.get(given, -1)

    def _start(self, given: int | None, block: Mapping[str, Any]) -> str:
        """A block begins. Servers that number none, or all of them 0, send one after the other."""
        before = self._place.get(given) if given is not None else None
        if not self.started or (before is not None and before not in self._closed):
            raise StreamBroken("a content block out of order")
        index = len(self._blocks)
        if given is not None:
            self._place[given] = index
        self._blocks[index] = dict(block)
        self._json[index] = []
        return str(_whole(block.get("text") or "")) if block.get("type") == "text" else ""

    def _delta(self, index: int, delta: Mapping[str, Any]) -> str:
        block = self._blocks.get(index)
        if block is None or index in self._closed:
            raise StreamBroken("a piece of a content block that is not open")
        kind = delta.get("type")
        if kind == "input_json_delta":
            self._wrote(delta["partial_json"])
            self._json[index].append(delta["partial_json"])
        elif kind in ("text_delta", "thinking_delta"):
            key = "text" if kind == "text_delta" else "thinking"
            self._wrote(delta[key])
            block[key] = (block.get(key) or "") + delta[key]
            return str(_whole(delta[key]))
        elif kind == "signature_delta":
            block["signature"] = delta["signature"]
        return ""

    def _wrote(self, text: str) -> None:
        self._written += len(text)
        if self._written > MOST_CHARACTERS:
            raise StreamBroken(f"the reply is longer than {MOST_CHARACTERS:,} characters")

    def _stop(self, index: int) -> None:
        if index not in self._blocks:
            raise StreamBroken("the end of a content block that never began")
        self._closed.add(index)
        block = self._blocks[index] = _whole(self._blocks[index])
        if block.get("type") != "tool_use":
            return
        value, text = block.get("input") or {}, "".join(self._json[index])
        if text:
            try:
                value = json.loads(text)
            except (ValueError, RecursionError):
                value = None
        elif not isinstance(value, Mapping):
            text = json.dumps(value)
        block["input"] = _whole(value) if isinstance(value, Mapping) else {"invalid_json": _whole(text[:2000])}

    def _end(self) -> None:
        if not self.started or not self.stop_reason or self._closed != set(self._blocks):
            raise StreamBroken("the message ended with something open")
        names: set[str] = set()
        for index, block in self._blocks.items():
            if block.get("type") == "tool_use":
                name = str(block.get("id") or f"call_{index}")
                block["id"] = name if name not in names else f"{name}_{index}"
                names.add(block["id"])
        self.complete = True

    def _count(self, usage: Any) -> None:
        for key, value in _mapping(usage).items():
            if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
                self._usage[key] = value

    @property
    def blocks(self) -> tuple[dict[str, Any], ...]:
        """The closed blocks in order, as they must be sent back; each call has an id of its own in this message."""
        return tuple(self._blocks[index] for index in sorted(self._closed))

    @property
    def text(self) -> str:
        """The text blocks, joined."""
        return "\n\n".join(block["text"] for block in self.blocks if block.get("type") == "text" and block.get("text"))

    @property
    def calls(self) -> tuple[ToolCall, ...]:
        """The calls that may be carried out: none unless the message is complete and stopped in order to call."""
        return self.wished if self.complete and self.stop_reason == "tool_use" else ()

    @property
    def wished(self) -> tuple[ToolCall, ...]:
        """The calls in the closed blocks, whether they may be carried out or not."""
        return tuple(
            ToolCall(str(block.get("id") or ""), str(block.get("name") or ""), block["input"])
            for block in self.blocks
            if block.get("type") == "tool_use"
        )

    def usage(self, asked: int) -> Usage:
        """Tokens as reported. What was not reported is estimated, since it is paid for: `asked` tokens went in.

        For a cut message the output is at least what arrived.
        """
        if not self.started and not self._usage:
            return Usage()
        output = self._usage.get("output_tokens", 0)
        cached = ("cache_read_input_tokens", "cache_creation_input_tokens")
        known = any(self._usage.get(key) for key in ("input_tokens", *cached))
        return Usage(
            input_tokens=self._usage.get("input_tokens", 0) if known else asked,
            output_tokens=output if self.complete and output else max(output, self._written // 3),
            cache_read_tokens=self._usage.get("cache_read_input_tokens", 0),
            cache_write_tokens=self._usage.get("cache_creation_input_tokens", 0),
        )


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _said(error: Any) -> ServerSaid:
    """An error of any form: the API's object, or the plain text of a local server."""
    if not isinstance(error, Mapping):
        return ServerSaid("api_error", str(error))
    return ServerSaid(str(error.get("type") or "api_error"), str(error.get("message") or "the server reported an error"))


def _whole(value: Any) -> Any:
    """Halves of surrogate pairs, which JSON may hold and UTF-8 may not, replaced: they could be neither kept nor sent back."""
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, Mapping):
        return {_whole(key): _whole(item) for key, item in value.items()}
    return [_whole(item) for item in value] if isinstance(value, list) else value
