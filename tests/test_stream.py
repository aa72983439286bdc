"""A message put together from a stream: strict about what is whole, lenient about how it is spelt."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from skillrun.events import Usage
from skillrun.llm.stream import MOST_CHARACTERS, Message, ServerSaid, StreamBroken
from tests.messages_server import events, message, say

CALL = {"type": "tool_use", "id": "a", "name": "shell", "input": {"command": "true", "why": "x"}}


def fed(stream: list[dict[str, Any]]) -> Message:
    """A message that was fed these events."""
    out = Message()
    for event in stream:
        out.feed(event)
    return out


def test_indexes_may_be_missing_or_all_the_same() -> None:
    """Blocks of a server that numbers none, or all of them 0, are taken one after the other."""
    whole = events(message([{"type": "text", "text": "Look."}, CALL], "tool_use"))
    same = [{**event, "index": 0} if "index" in event else event for event in whole]
    none = [{key: value for key, value in event.items() if key != "index"} for event in whole]
    for stream in (whole, same, none):
        out = fed(stream)
        assert out.text == "Look."
        assert [(call.id, call.command) for call in out.calls] == [("a", "true")]


def test_every_call_has_an_id_of_its_own() -> None:
    """Missing and repeated ids are replaced, in the calls and in what is sent back alike, so that each has its own result."""
    blocks = [{**CALL, "id": name} for name in ("", "same", "same", None)]
    out = fed(events(message(blocks, "tool_use")))
    names = [call.id for call in out.calls]
    assert len(set(names)) == 4
    assert all(names)
    assert [block["id"] for block in out.blocks] == names


@pytest.mark.parametrize("given", [["x"], "x", 7, None, True])
def test_an_input_that_is_no_object_fits_no_tool(given: object) -> None:
    """Whatever stands where an input should be, the call is made of JSON and cannot pass the tool's schema."""
    from skillrun.llm.tools import BadInput, checked

    out = fed(events(message([{**CALL, "input": given, "raw_input": json.dumps(given)}], "tool_use")))
    (call,) = out.calls
    with pytest.raises(BadInput):
        checked(call.name, call.input)


def test_input_nested_too_deep_is_bad_input_not_a_crash() -> None:
    """A hundred thousand brackets are an input that is not valid."""
    out = fed(events(message([{**CALL, "raw_input": '{"command": ' + "[" * 100_000}], "tool_use"), piece=50_000))
    assert set(out.calls[0].input) == {"invalid_json"}


def test_halves_of_characters_are_replaced() -> None:
    """A lone surrogate could neither be kept in a journal nor sent back; two that meet in two pieces are one character."""
    out = Message()
    start = events(say(""))[0]
    for event in (
        start,
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "a\ud83d"}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "\ude00b\ud800"}},
        {"type": "content_block_stop", "index": 0},
    ):
        shown = out.feed(event)
        shown.encode()
    assert out.text == "a😀b\ufffd"


def test_null_text_is_no_text() -> None:
    """`null` where a text should begin is an empty one, and never the word None."""
    stream = events(message([{"type": "text", "text": "hi"}], "end_turn"))
    stream[1]["content_block"]["text"] = None
    out = Message()
    assert "".join(out.feed(event) for event in stream) == "hi"
    assert out.text == "hi"


def test_unknown_blocks_events_and_deltas_are_kept_or_passed_over() -> None:
    """What the API will add one day breaks nothing: a block is sent back as it came, an event is passed over."""
    later = {"type": "hologram", "data": {"x": [1]}}
    stream = events(message([later, CALL], "tool_use"))
    stream[2:2] = [
        {"type": "content_block_delta", "index": 0, "delta": {"type": "hologram_delta", "data": 1}},
        {"type": "aurora"},
    ]
    out = fed(stream)
    assert out.blocks[0] == later
    assert len(out.calls) == 1


def test_redacted_thinking_goes_back_as_it_came() -> None:
    """Thinking nobody may read is kept whole."""
    hidden = {"type": "redacted_thinking", "data": "b3BhcXVl"}
    assert fed(events(message([hidden, CALL], "tool_use"))).blocks == (hidden, CALL)


@pytest.mark.parametrize("usage", [None, {}, [], "many", {"input_tokens": None}, {"input_tokens": -1}, {"input_tokens": True}])
def test_tokens_nobody_counted_are_estimated(usage: object) -> None:
    """A reply without a count is not free: what was asked and what was written are counted instead."""
    stream = events(say("x" * 300))
    stream[0]["message"]["usage"] = usage
    stream[-2]["usage"] = usage
    out = fed(stream).usage(asked=1234)
    assert (out.input_tokens, out.output_tokens) == (1234, 100)


def test_usage_is_cumulative() -> None:
    """Counts in a later event replace earlier ones, and what is read from the cache is no input that went uncounted."""
    stream = events(say("x", cache_read_input_tokens=900, input_tokens=0))
    stream[-2]["usage"] = {"output_tokens": 70, "cache_read_input_tokens": 950}
    assert fed(stream).usage(asked=9) == Usage(0, 70, 950, 0)


def test_nothing_asked_nothing_owed() -> None:
    """An attempt that never got an answer cost nothing."""
    assert Message().usage(asked=5000) == Usage()


@pytest.mark.parametrize(
    ("error", "kind", "says"),
    [
        ({"type": "overloaded_error", "message": "Overloaded"}, "overloaded_error", "Overloaded"),
        ("model is loading", "api_error", "model is loading"),
        ({"message": "slot unavailable", "code": 503}, "api_error", "slot unavailable"),
        ({}, "api_error", "reported an error"),
    ],
)
def test_an_error_event_has_many_forms(error: object, kind: str, says: str) -> None:
    """The API's object, a plain text, another API's object: each is an error, with or without the type beside it."""
    for event in ({"type": "error", "error": error}, {"error": error or "the server reported an error"}):
        with pytest.raises(ServerSaid, match=says) as stop:
            Message().feed(event)
        assert stop.value.kind == kind


def test_a_message_in_one_piece_counts_as_well() -> None:
    """A server that does not stream: the same calls, the same strictness."""
    body = message([{"type": "text", "text": "Look."}, CALL], "tool_use")
    out = Message()
    assert out.take(body) == "Look."
    assert [call.command for call in out.calls] == ["true"]
    for broken in ({**body, "stop_reason": None}, {"object": "chat.completion", "choices": []}, [], "ok"):
        with pytest.raises(StreamBroken):
            Message().take(broken)
    with pytest.raises(ServerSaid):
        Message().take({"error": "no such model"})


def test_a_reply_without_end_is_left() -> None:
    """A server that never stops writing is not waited for."""
    out = fed(events(say(""))[:1])
    out.feed({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}})
    piece = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "x" * 1_000_000}}
    for _ in range(MOST_CHARACTERS // 1_000_000):
        out.feed(piece)
    with pytest.raises(StreamBroken, match="longer than"):
        out.feed(piece)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
KINDS = st.sampled_from(["message_start", "content_block_start", "content_block_delta", "content_block_stop", "message_delta"])


@given(st.lists(st.tuples(KINDS, JSON, JSON, JSON), max_size=8), st.booleans())
@example([("message_start", None, {}, None), ("content_block_start", None, [[]], None)], False)
def test_no_stream_whatever_yields_a_call_or_another_error(rows: list[tuple[Any, ...]], stop: bool) -> None:
    """Events of any form, without a `tool_use` stop: broken or not, there is no call, and no other exception."""
    out = Message()
    try:
        for kind, index, one, two in rows:
            out.feed({"type": kind, "index": index, "message": one, "content_block": one, "delta": two, "usage": one})
        if stop:
            out.feed({"type": "message_stop"})
    except (StreamBroken, ServerSaid):
        pass
    assert out.calls == ()
