"""One message put together from the events of a stream, strictly: what is not whole is not used.

A stream that is cut raises nothing by itself and leaves a tool call with an empty or partial input. So a
message counts only when `message_stop` was seen, and each block only when its own stop was.
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


class Message:
    """A message in the making. Feed it every event; `complete` says whether it may be acted upon."""

    def __init__(self) -> None:
        self.started = self.complete = False
        self.stop_reason = ""
        self.stop_details: Mapping[str, Any] = {}
        self._blocks: dict[int, dict[str, Any]] = {}
        self._json: dict[int, list[str]] = {}
        self._closed: set[int] = set()
        self._usage: dict[str, int] = {}
        self._written = 0

    def feed(self, event: Mapping[str, Any]) -> str:
        """Take one event; returns the text a person can be shown now. Raises StreamBroken, ServerSaid."""
        kind = event.get("type")
        try:
            if kind == "message_start":
                self.started = True
                self._count(event["message"].get("usage"))
            elif kind == "content_block_start":
                return self._start(event["index"], event["content_block"])
            elif kind == "content_block_delta":
                return self._delta(event["index"], event["delta"])
            elif kind == "content_block_stop":
                self._stop(event["index"])
            elif kind == "message_delta":
                self.stop_reason = event["delta"].get("stop_reason") or self.stop_reason
                self.stop_details = event["delta"].get("stop_details") or {}
                self._count(event.get("usage"))
            elif kind == "message_stop":
                self._end()
            elif kind == "error":
                error = event.get("error") or {}
                raise ServerSaid(str(error.get("type", "api_error")), str(error.get("message", "the server reported an error")))
        except (KeyError, TypeError, AttributeError) as error:
            raise StreamBroken(f"a {kind} event of an unexpected form ({error!r})") from error
        return ""

    def _start(self, index: int, block: Mapping[str, Any]) -> str:
        if not self.started or index in self._blocks:
            raise StreamBroken("a content block out of order")
        self._blocks[index] = dict(block)
        self._json[index] = []
        return str(block.get("text", "")) if block.get("type") == "text" else ""

    def _delta(self, index: int, delta: Mapping[str, Any]) -> str:
        block = self._blocks.get(index)
        if block is None or index in self._closed:
            raise StreamBroken("a piece of a content block that is not open")
        kind = delta.get("type")
        if kind == "input_json_delta":
            self._json[index].append(delta["partial_json"])
            self._written += len(delta["partial_json"])
        elif kind in ("text_delta", "thinking_delta"):
            key = "text" if kind == "text_delta" else "thinking"
            block[key] = block.get(key, "") + delta[key]
            self._written += len(delta[key])
            return str(delta[key])
        elif kind == "signature_delta":
            block["signature"] = delta["signature"]
        return ""

    def _stop(self, index: int) -> None:
        if index not in self._blocks:
            raise StreamBroken("the end of a content block that never began")
        self._closed.add(index)
        if self._blocks[index].get("type") == "tool_use" and self._json[index]:
            text = "".join(self._json[index])
            try:
                value = json.loads(text)
            except ValueError:
                value = None
            self._blocks[index]["input"] = value if isinstance(value, dict) else {"invalid_json": text[:2000]}

    def _end(self) -> None:
        if not self.started or not self.stop_reason or self._closed != set(self._blocks):
            raise StreamBroken("the message ended with something open")
        self.complete = True

    def _count(self, usage: Any) -> None:
        for key, value in (usage or {}).items():
            if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
                self._usage[key] = value

    @property
    def blocks(self) -> tuple[dict[str, Any], ...]:
        """The closed blocks in order, as they must be sent back."""
        return tuple(self._blocks[index] for index in sorted(self._closed))

    @property
    def text(self) -> str:
        """The text blocks, joined."""
        return "\n\n".join(block["text"] for block in self.blocks if block.get("type") == "text" and block.get("text"))

    @property
    def calls(self) -> tuple[ToolCall, ...]:
        """The calls that may be carried out: none unless the message is complete and stopped in order to call."""
        if not self.complete or self.stop_reason != "tool_use":
            return ()
        return tuple(
            ToolCall(str(block.get("id", "")), str(block.get("name", "")), block.get("input") or {})
            for block in self.blocks
            if block.get("type") == "tool_use"
        )

    @property
    def usage(self) -> Usage:
        """Tokens as reported. For a cut message the output is estimated, since it was produced and is paid for."""
        output = self._usage.get("output_tokens", 0)
        return Usage(
            input_tokens=self._usage.get("input_tokens", 0),
            output_tokens=output if self.complete else max(output, self._written // 3),
            cache_read_tokens=self._usage.get("cache_read_input_tokens", 0),
            cache_write_tokens=self._usage.get("cache_creation_input_tokens", 0),
        )
