"""The model behind the Messages API, against a real HTTP server with real event streams."""

from __future__ import annotations

import contextlib
import itertools
import json
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from skillrun.events import Event, Noted, Reply, Result, Said, State, ToolCall, Turn
from skillrun.llm.credentials import Credentials
from skillrun.models.anthropic import ATTEMPTS, AnthropicModel
from skillrun.ports import Brief, ModelUnavailable
from skillrun.skills.skill import Skill
from tests.messages_server import Fault, Line, MessagesServer, call, error, events, message, say, wire

KEY = "sk-ant-test-0123456789"
BRIEF = Brief(
    Skill("jq", "jq", "JSON on the command line", "skill", "# jq\nInstall jq.\n"),
    facts={"os": "linux", "user": {"name": "dev", "root": False}},
    checks=("jq --version",),
)
INSTALL = call("shell", "toolu_a", "Installing.", command="apt-get install -y jq", why="the skill asks for it")


@dataclass
class Talk:
    """What one reply did: the value or the error, what was shown, how long it would have waited."""

    reply: Reply | None = None
    stop: ModelUnavailable | None = None
    events: list[Event] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)

    @property
    def notes(self) -> list[str]:
        """The notes a person saw."""
        return [event.text for event in self.events if isinstance(event, Noted)]


def talk(url: str, turns: Sequence[Turn] = (), name: str = "claude-sonnet-5-5", native: bool | None = None) -> Talk:
    """One reply over the wire."""
    out = Talk()
    model = AnthropicModel(name, Credentials("test", KEY), url, native, out.waits.append, lambda: 0.0)
    asked = model.reply(BRIEF, turns)
    try:
        while True:
            out.events.append(next(asked))
    except StopIteration as done:
        out.reply = done.value
    except ModelUnavailable as stop:
        out.stop = stop
    return out


def ask(script: Iterable[Line], turns: Sequence[Turn] = (), **more: Any) -> tuple[Talk, MessagesServer]:
    """One reply from a server with this script."""
    with MessagesServer(script) as server:
        return talk(server.url, turns, **more), server


def turn(number: int, output: str = "ok", **more: Any) -> Turn:
    """A finished turn of one shell call."""
    made = ToolCall(f"toolu_{number}", "shell", {"command": f"echo {number}", "why": "test"})
    return Turn(Reply(f"step {number}", (made,), "claude-sonnet-5-5"), ((made, Result(State.EXITED, 0, output, **more)),))


def test_a_reply_arrives_with_text_call_and_cost() -> None:
    """A whole message gives its text piece by piece, its call with its input, and what it cost."""
    done, server = ask([INSTALL])
    assert done.reply is not None
    assert done.reply.calls[0] == ToolCall(
        "toolu_a", "shell", {"command": "apt-get install -y jq", "why": "the skill asks for it"}
    )
    assert "".join(event.text for event in done.events if isinstance(event, Said)) == "Installing."
    assert done.reply.usage is not None
    assert done.reply.usage.cost_usd == pytest.approx((1000 * 2 + 50 * 10) / 1e6)
    assert server.headers[0]["authorization"] == f"Bearer {KEY}" or server.headers[0].get("x-api-key") == KEY


def test_a_foreign_server_gets_no_fields_of_its_own() -> None:
    """A server that is not Anthropic's sees no cache, thinking, effort or beta fields, and schemas on every tool."""
    _, server = ask([say("hello")], [turn(1)])
    body = server.requests[0]
    assert set(body) == {"model", "max_tokens", "system", "tools", "messages", "stream"}
    assert "cache_control" not in json.dumps(body)
    assert "anthropic-beta" not in server.headers[0]
    assert all(
        tool["input_schema"]["type"] == "object" and set(tool) == {"name", "description", "input_schema"}
        for tool in body["tools"]
    )


def test_anthropics_own_server_gets_cache_marks_and_a_growing_prefix() -> None:
    """Cache marks on the fixed head and the moving tail; each request begins with the bytes of the one before."""
    turns = [turn(number) for number in range(4)]
    bodies = []
    for count in range(4):
        _, server = ask([say("hello")], turns[:count], native=True)
        bodies.append(server.requests[0])
    assert bodies[0]["cache_control"] == {"type": "ephemeral", "ttl": "1h"}
    assert bodies[0]["messages"][0]["content"][0]["cache_control"] == {"type": "ephemeral", "ttl": "1h"}
    for before, after in itertools.pairwise(bodies):
        head = json.dumps([before["system"], before["tools"], before["messages"]])[:-2]
        assert json.dumps([after["system"], after["tools"], after["messages"]]).startswith(head)


def test_thinking_goes_back_unchanged_to_its_own_model_only() -> None:
    """Thinking blocks return to the model that made them, byte for byte, and never to another."""
    thought = {"type": "thinking", "thinking": "Look first.", "signature": "c2lnbmVk"}
    use = {"type": "tool_use", "id": "toolu_t", "name": "shell", "input": {"command": "id", "why": "look"}}
    done, _ = ask([message([thought, use], "tool_use")])
    assert done.reply is not None
    assert "".join(event.text for event in done.events if isinstance(event, Said)) == "Look first."
    history = [Turn(done.reply, ((done.reply.calls[0], Result(State.EXITED, 0, "root")),))]
    _, same = ask([say("on")], history)
    assert same.requests[0]["messages"][1]["content"] == [thought, use]
    _, other = ask([say("on")], history, name="claude-opus-5-5")
    assert other.requests[0]["messages"][1]["content"] == [use]


def test_thinking_that_is_not_accepted_is_left_out() -> None:
    """When the server rejects earlier thinking (another account, an edited history), it is asked again without."""
    thought = {"type": "thinking", "thinking": "Look.", "signature": "b2xk"}
    made = ToolCall("toolu_t", "shell", {"command": "id", "why": "look"})
    use = {"type": "tool_use", "id": "toolu_t", "name": "shell", "input": dict(made.input)}
    history = [Turn(Reply("", (made,), "claude-sonnet-5-5", raw=(thought, use)), ((made, Result(State.EXITED, 0)),))]
    bad = Fault(
        "status", status=400, body=error("invalid_request_error", "messages.1: Invalid `signature` in `thinking` block")
    )
    done, server = ask([bad, say("on")], history)
    assert done.reply is not None
    assert server.requests[1]["messages"][1]["content"] == [use]


def test_every_call_gets_its_result_and_lost_ones_are_unknown() -> None:
    """A call whose result was lost in a crash comes back as outcome unknown, never as cancelled."""
    one, two = ToolCall("a", "shell", {"command": "make", "why": "x"}), ToolCall("b!", "shell", {"command": "ls", "why": "x"})
    _, server = ask([say("on")], [Turn(Reply("both", (one, two)), ((one, Result(State.EXITED, 2, "boom")),))])
    answer = server.requests[0]["messages"][2]["content"]
    assert [block["type"] for block in answer] == ["tool_result", "tool_result"]
    assert answer[0]["content"].startswith("exit code 2")
    assert "outcome unknown" in answer[1]["content"]
    assert "cancel" not in answer[1]["content"]
    uses = [block["id"] for block in server.requests[0]["messages"][1]["content"] if block["type"] == "tool_use"]
    assert uses == [block["tool_use_id"] for block in answer] == ["a", "b_"]


def test_calls_of_other_models_with_equal_ids_stay_apart() -> None:
    """Two turns that used the same id (another engine counts from one each time) are sent under two ids."""
    made = ToolCall("1", "shell", {"command": "ls", "why": "x"})
    twice = [Turn(Reply("", (made,), "builtin"), ((made, Result(State.EXITED, 0)),))] * 2
    _, server = ask([say("on")], twice)
    ids = [block["id"] for m in server.requests[0]["messages"] if m["role"] == "assistant" for block in m["content"]]
    assert len(set(ids)) == 2


RETRIED: dict[str, tuple[Line, float]] = {
    "429 with retry-after": (
        Fault("status", status=429, body=error("rate_limit_error", "slow down"), headers={"retry-after": "7"}),
        7.0,
    ),
    "429 with retry-after-ms": (
        Fault("status", status=429, body=error("rate_limit_error", "slow down"), headers={"retry-after-ms": "250"}),
        0.25,
    ),
    "529": (Fault("status", status=529, body=error("overloaded_error", "Overloaded")), 0.5),
    "502 in HTML": (Fault("status", status=502, body="<html><h1>502 Bad Gateway</h1></html>"), 0.5),
    "408": (Fault("status", status=408, body=error("timeout_error", "timeout")), 0.5),
    "overload in mid-stream, status 200": (Fault("error", INSTALL, at=6, body=error("overloaded_error", "Overloaded")), 0.5),
    "clean end in the middle of a call": (Fault("end", INSTALL, at=7), 0.5),
    "clean end before message_stop": (Fault("end", INSTALL, at=len(events(INSTALL)) - 1), 0.5),
    "connection cut": (Fault("cut", INSTALL, at=700), 0.5),
    "connection reset": (Fault("reset", INSTALL, at=700), 0.5),
    "no answer at all": (Fault("reset", INSTALL, at=0), 0.5),
    "an event that is not JSON": (Fault("garbage", INSTALL, at=5), 0.5),
}


@pytest.mark.parametrize("name", RETRIED)
def test_a_passing_fault_is_waited_out_in_sight(name: str) -> None:
    """A fault that passes costs one visible wait; the turn is asked for again whole, and nothing ran from the wreck."""
    fault, pause = RETRIED[name]
    done, server = ask([fault, INSTALL])
    assert done.reply is not None, done.stop
    assert done.reply.calls[0].command == "apt-get install -y jq"
    assert done.waits == [pause]
    assert len(done.notes) == 1
    assert "<html>" not in done.notes[0]
    assert server.requests[0] == server.requests[1]


FATAL: dict[str, tuple[Fault, str]] = {
    "bad key": (Fault("status", status=401, body=error("authentication_error", "invalid x-api-key")), "key"),
    "forbidden": (Fault("status", status=403, body=error("permission_error", "no access")), "--model"),
    "unknown model": (Fault("status", status=404, body=error("not_found_error", "model: nope")), "--model"),
    "spend limit as 429 with a code": (
        Fault("status", status=429, body=error("rate_limit_error", "limit", error_code="enforced_spend_limit_reached")),
        "spending limit",
    ),
    "spend limit as 429 in words": (
        Fault("status", status=429, body=error("rate_limit_error", "This workspace has reached its spend limit.")),
        "spending limit",
    ),
    "no credit": (
        Fault("status", status=400, body=error("invalid_request_error", "Your credit balance is too low")),
        "spending limit",
    ),
    "billing": (Fault("status", status=402, body=error("billing_error", "payment required")), "spending limit"),
    "billing in mid-stream": (Fault("error", INSTALL, at=3, body=error("billing_error", "payment required")), "spending limit"),
    "server says do not retry": (
        Fault("status", status=503, body=error("api_error", "gone"), headers={"x-should-retry": "false"}),
        "resume",
    ),
    "bad request": (Fault("status", status=400, body=error("invalid_request_error", "tools: bad schema")), "doctor"),
}


@pytest.mark.parametrize("name", FATAL)
def test_what_waiting_cannot_mend_stops_at_once(name: str) -> None:
    """A bad key, a spent budget or a bad request is reported after one request, with what to do."""
    fault, hint = FATAL[name]
    done, server = ask([fault, INSTALL])
    assert done.stop is not None
    assert hint in done.stop.hint
    assert len(server.requests) == 1
    assert done.waits == []
    assert KEY not in str(done.stop) + done.stop.hint


def test_a_fault_that_does_not_pass_ends_after_growing_waits() -> None:
    """Waits double, are seen, and end; then the model is unavailable and resume is named."""
    done, server = ask([RETRIED["529"][0]] * 20)
    assert done.stop is not None
    assert "resume" in done.stop.hint
    assert len(server.requests) == ATTEMPTS
    assert done.waits == [0.5, 1, 2, 4, 8, 16]


def test_jitter_spreads_and_a_long_retry_after_is_not_sat_out() -> None:
    """Chance shortens a wait by at most a quarter; an hour's retry-after ends the run at once instead."""
    waits: list[float] = []
    with MessagesServer([RETRIED["529"][0], say("x")]) as server:
        model = AnthropicModel("m", Credentials("t", KEY), server.url, None, waits.append, lambda: 1.0)
        list(model.reply(BRIEF, ()))
    assert waits == [0.375]
    hour = Fault("status", status=429, body=error("rate_limit_error", "later"), headers={"retry-after": "3600"})
    done, server = ask([hour, INSTALL])
    assert done.stop is not None
    assert len(server.requests) == 1


def test_a_host_that_does_not_resolve_is_retried_then_named() -> None:
    """A name that does not resolve is a network fault: retried, then reported with what to check."""
    done = talk("http://no-such-host.invalid:9")
    assert done.stop is not None
    assert "cannot be reached" in str(done.stop)
    assert "network" in done.stop.hint
    assert len(done.waits) == ATTEMPTS - 1


def test_a_server_that_is_not_there_is_named() -> None:
    """Nothing listens on the port: the person is told that the server cannot be reached."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    done = talk(f"http://127.0.0.1:{port}")
    assert done.stop is not None
    assert "cannot be reached" in str(done.stop)


def test_max_tokens_never_runs_a_partial_call() -> None:
    """A reply cut by its token limit is asked for again with more room; its partial call is never carried out."""
    partial = message([{"type": "tool_use", "id": "x", "name": "shell", "input": {"command": "rm -rf /tmp/a"}}], "max_tokens")
    done, server = ask([partial, INSTALL])
    assert done.reply is not None
    assert [made.id for made in done.reply.calls] == ["toolu_a"]
    assert server.requests[1]["max_tokens"] > server.requests[0]["max_tokens"]
    done, _ = ask([partial, partial, INSTALL])
    assert done.stop is not None
    assert "does not fit" in str(done.stop)


def test_a_call_with_another_stop_reason_is_not_run() -> None:
    """A tool call in a message that stopped for another reason than to call is text, not a wish."""
    use = {"type": "tool_use", "id": "x", "name": "shell", "input": {"command": "true", "why": "x"}}
    done, _ = ask([message([use], "end_turn")])
    assert done.reply is not None
    assert done.reply.calls == ()


def test_a_refusal_ends_the_run_in_its_own_words() -> None:
    """A refusal becomes finish(refused) with the explanation; a call that came with it is dropped."""
    use = {"type": "tool_use", "id": "x", "name": "shell", "input": {"command": "true", "why": "x"}}
    refusal = message([use], "refusal") | {"stop_details": {"type": "refusal", "category": "cyber", "explanation": "No."}}
    done, _ = ask([refusal])
    assert done.reply is not None
    assert [(made.name, dict(made.input)) for made in done.reply.calls] == [
        ("finish", {"outcome": "refused", "summary": "No."})
    ]


def test_a_paused_turn_goes_on_with_what_was_said() -> None:
    """pause_turn: the pieces so far are sent back as the assistant's own, and the answer continues them."""
    done, server = ask([say("Part one.", "pause_turn"), INSTALL])
    assert done.reply is not None
    assert done.reply.calls[0].id == "toolu_a"
    assert server.requests[1]["messages"][-1] == {"role": "assistant", "content": [{"type": "text", "text": "Part one."}]}
    assert done.reply.text.startswith("Part one.")


def long_run(count: int) -> list[Turn]:
    """Turns whose outputs fill a small context."""
    return [turn(number, "x" * 6000, output_bytes=6000, output_file=f"/run/outputs/{number}.txt") for number in range(count)]


@pytest.mark.parametrize(
    "first",
    [
        say("", "model_context_window_exceeded"),
        Fault("status", status=400, body=error("invalid_request_error", "prompt is too long: 40000 tokens > 32768 maximum")),
        Fault("status", status=413, body=error("request_too_large", "Request exceeds the maximum size")),
    ],
)
def test_a_context_that_overflows_is_made_smaller(first: Line) -> None:
    """Too long: old outputs are put away, the pairs stay whole, and the turn is asked for again."""
    done, server = ask([first, INSTALL], long_run(6), name="small-local-model")
    assert done.reply is not None, done.stop
    sizes = [len(json.dumps(body)) for body in server.requests]
    assert sizes[1] < sizes[0] * 0.8
    for body in server.requests:
        uses = [b["id"] for m in body["messages"] for b in m["content"] if b["type"] == "tool_use"]
        results = [b["tool_use_id"] for m in body["messages"] for b in m["content"] if b["type"] == "tool_result"]
        assert uses == results


def test_broken_json_in_a_whole_message_becomes_a_call_that_cannot_pass() -> None:
    """A small model's invalid JSON input is kept for it to see and never fits the tool's schema."""
    from skillrun.llm.tools import BadInput, checked

    use = {"type": "tool_use", "id": "x", "name": "shell", "input": {}, "raw_input": '{"command": "ls'}
    done, _ = ask([message([use], "tool_use")])
    assert done.reply is not None
    (made,) = done.reply.calls
    with pytest.raises(BadInput):
        checked(made.name, made.input)


def test_one_byte_a_packet_is_the_same_message() -> None:
    """How the network slices the stream, inside UTF-8 characters too, changes nothing."""
    reply = call("shell", "toolu_u", "Grüße ☃ 🎉", command="echo 'naïve — 日本'", why="ü")
    whole, _ = ask([reply])
    sliced, _ = ask([Fault("bytes", reply)])
    assert whole.reply == sliced.reply
    assert whole.reply is not None
    assert whole.reply.calls[0].command == "echo 'naïve — 日本'"


def test_the_person_can_stop_the_waiting() -> None:
    """An interrupt while waiting for the server comes through at once."""

    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    with MessagesServer([RETRIED["529"][0], INSTALL]) as server:
        model = AnthropicModel("m", Credentials("t", KEY), server.url, None, interrupt)
        with pytest.raises(KeyboardInterrupt):
            list(model.reply(BRIEF, ()))
    assert len(server.requests) == 1


def test_attempts_that_failed_are_paid_for() -> None:
    """Tokens of a cut attempt count: input as reported, output at least as much as was received."""
    done, _ = ask([Fault("end", INSTALL, at=7), INSTALL])
    assert done.reply is not None
    assert done.reply.usage is not None
    assert done.reply.usage.input_tokens == 2000
    assert done.reply.usage.output_tokens > 50


def test_without_a_key_it_says_so_before_any_request(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The client's own TypeError at the first call becomes a clear message."""
    for name in ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    model = AnthropicModel("claude-sonnet-5-5")
    with pytest.raises(ModelUnavailable) as stop:
        list(model.reply(BRIEF, ()))
    assert "ANTHROPIC_API_KEY" in stop.value.hint


RECORDED = wire(events(message([{"type": "text", "text": "Ä first look ☃."}, *INSTALL["content"]], "tool_use"), piece=48))


class Hand:
    """A server made of one function of the connection's number and its socket; it counts connections."""

    def __init__(self, answer: Callable[[int, socket.socket], None], context: ssl.SSLContext | None = None) -> None:
        self.answer, self.context, self.count = answer, context, 0
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.socket.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                peer, _ = self.socket.accept()
            except OSError:
                return
            self.count += 1
            threading.Thread(target=self._one, args=(self.count, peer), daemon=True).start()

    def _one(self, number: int, peer: socket.socket) -> None:
        with peer, contextlib.suppress(OSError):
            peer.settimeout(20)
            if self.context:
                peer = self.context.wrap_socket(peer, server_side=True)
            with peer.makefile("rb") as lines:
                head = list(itertools.takewhile(bytes.strip, lines))
                lines.read(next((int(line.split(b":")[1]) for line in head if line.lower().startswith(b"content-length:")), 0))
            self.answer(number, peer)


def cut_short(cut: Callable[[int], bytes], chunked: bool) -> Hand:
    """A server that sends so much of the recorded stream and closes, once for each connection."""

    def answer(number: int, peer: socket.socket) -> None:
        data = cut(number - 1)
        # Each connection serves one request: without saying so, the client may send the next one down a closed one.
        head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n"
        if chunked:
            # The size is of the whole stream, so a cut one ends inside its chunk, as behind a proxy that dies.
            end = b"\r\n0\r\n\r\n" if len(data) == len(RECORDED) else b""
            peer.sendall(head + b"transfer-encoding: chunked\r\n\r\n%x\r\n" % len(RECORDED) + data + end)
        else:
            peer.sendall(head + b"\r\n" + data)

    return Hand(answer)


@pytest.mark.parametrize(("chunked", "step"), [(False, 4), (True, 5), pytest.param(False, 1, marks=pytest.mark.slow)])
def test_no_cut_anywhere_ever_yields_a_call(chunked: bool, step: int) -> None:
    """For every byte (in the gate each fourth) at which a stream can be cut: that attempt gives no call, the whole one does."""
    offsets = range(0, len(RECORDED), step)
    server = cut_short(lambda count: RECORDED if count % 2 else RECORDED[: offsets[count // 2]], chunked)
    model = AnthropicModel("test", Credentials("t", KEY), server.url, None, lambda _: None)
    try:
        for offset in offsets:
            before = server.count
            asked = model.reply(BRIEF, ())
            notes = []
            while True:
                try:
                    event = next(asked)
                except StopIteration as done:
                    reply = done.value
                    break
                notes += [event.text] if isinstance(event, Noted) else []
            asked_times = server.count - before
            assert (len(notes), asked_times) == (1, 2), f"cut at byte {offset}: asked {asked_times} times, said {notes}"
            assert [made.command for made in reply.calls] == ["apt-get install -y jq"]
    finally:
        server.socket.close()


def test_an_error_after_any_event_yields_nothing() -> None:
    """An overload reported after any number of events, with status 200, is retried and nothing of the wreck is used."""
    stream = events(INSTALL)
    faults = [Fault("error", INSTALL, at=at, body=error("overloaded_error", "Overloaded")) for at in range(len(stream))]
    with MessagesServer(line for fault in faults for line in (fault, say("again"))) as server:
        for _ in faults:
            done = talk(server.url)
            assert done.reply is not None
            assert (done.reply.calls, done.reply.text, len(done.notes)) == ((), "again", 1)


HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def chunk(data: bytes) -> bytes:
    """One chunk of a chunked answer."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def test_no_connection_is_kept_for_the_next_turn() -> None:
    """A server that keeps a connection and drops it at the next request costs nothing: each turn has its own, unseen."""

    def answer(number: int, peer: socket.socket) -> None:
        peer.sendall(HEAD + chunk(RECORDED) + b"0\r\n\r\n")
        peer.recv(65536)  # another request on this connection would be dropped unanswered

    server = Hand(answer)
    model = AnthropicModel("test", Credentials("t", KEY), server.url, None, lambda _: None)
    notes = [event for _ in range(3) for event in model.reply(BRIEF, ()) if isinstance(event, Noted)]
    server.socket.close()
    assert (server.count, notes) == (3, [])


def test_a_reply_counts_from_its_last_event_on() -> None:
    """A server that leaves the stream open after `message_stop` is not waited for."""

    def answer(number: int, peer: socket.socket) -> None:
        peer.sendall(HEAD + chunk(RECORDED))
        peer.recv(65536)

    server = Hand(answer)
    done = talk(server.url, name="test")
    server.socket.close()
    assert done.reply is not None
    assert done.waits == []


def test_signs_of_life_alone_are_not_waited_for_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream that begins and then only pings is left after a while and asked for again."""
    monkeypatch.setattr("skillrun.models.anthropic.SILENT_S", 0.3)

    def answer(number: int, peer: socket.socket) -> None:
        if number > 1:
            peer.sendall(HEAD + chunk(RECORDED) + b"0\r\n\r\n")
            return
        peer.sendall(HEAD + chunk(RECORDED[: RECORDED.index(b"\n\n") + 2]))
        while True:
            peer.sendall(chunk(b'event: ping\ndata: {"type": "ping"}\n\n'))
            threading.Event().wait(0.02)

    server = Hand(answer)
    done = talk(server.url, name="test")
    server.socket.close()
    assert done.reply is not None
    assert "signs of life" in done.notes[0]


def test_a_server_that_comes_up_late_is_waited_for() -> None:
    """Refused at first, there a moment later: one visible wait, then the reply."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    started: list[MessagesServer] = []

    def wait(seconds: float) -> None:
        if not started:
            started.append(MessagesServer([INSTALL], port=port).__enter__())

    model = AnthropicModel("test", Credentials("t", KEY), f"http://127.0.0.1:{port}", None, wait)
    notes = [event.text for event in model.reply(BRIEF, ()) if isinstance(event, Noted)]
    started[0].__exit__()
    assert len(notes) == 1
    assert "cannot be reached" in notes[0]


def test_a_local_server_is_never_asked_through_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Proxy variables that lead nowhere do not keep anybody from the model on their own machine."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    done, _ = ask([INSTALL])
    assert done.reply is not None, done.stop
    elsewhere = talk("http://models.invalid")
    assert elsewhere.stop is not None
    assert "proxy" in elsewhere.stop.hint


def test_a_certificate_nobody_vouches_for_ends_it_at_once(tmp_path: Path) -> None:
    """TLS stays on: an untrusted certificate is named with what to do, and nothing is asked twice."""
    if not shutil.which("openssl"):
        pytest.skip("needs openssl to make a certificate")
    made = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-keyout",
        "k",
        "-out",
        "c",
        "-days",
        "2",
        "-subj",
        "/CN=localhost",
    ]
    subprocess.run(made, cwd=tmp_path, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "c", tmp_path / "k")
    seen: list[int] = []

    def answer(number: int, peer: socket.socket) -> None:
        seen.append(number)

    server = Hand(answer, context)
    done = talk(server.url.replace("http://127.0.0.1", "https://localhost"))
    server.socket.close()
    assert done.stop is not None
    assert "SSL_CERT_FILE" in done.stop.hint
    assert done.waits == []
    assert seen == []


def test_a_redirect_never_carries_the_key_away() -> None:
    """Neither the key nor the conversation goes where a server points; the place is named instead."""
    with MessagesServer([INSTALL]) as other:
        away = Fault("status", status=307, body="", headers={"location": f"{other.url}/v1/messages"})
        done, server = ask([away])
        assert other.requests == []
    assert done.stop is not None
    assert other.url in str(done.stop)
    assert len(server.requests) == 1
