"""Claude, or any server that speaks the Messages API, through the official client.

The client is imported when the first request is made (or by `preload` in a thread beside other work). Its own
retries are off: a whole turn is asked again here, where a person can see it, and only when that can help.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from skillrun.catalog import model_facts
from skillrun.conversation import Conversation
from skillrun.credentials import Credentials, is_anthropic
from skillrun.events import Event, Noted, Reply, Said, ToolCall, Turn, Usage
from skillrun.message import Message, ServerSaid, StreamBroken
from skillrun.ports import Brief, ModelUnavailable
from skillrun.prompt import SYSTEM, render_brief
from skillrun.tools import definitions

if TYPE_CHECKING:
    from anthropic import Anthropic, APIStatusError

ATTEMPTS = 7
"""How often one turn is asked for before the model counts as unavailable."""
PATIENCE_S = 600.0
"""Seconds of waiting that one turn may add up to, whatever the server asks for."""
MAX_TOKENS = 16_000
"""Output asked for at first; raised once when a reply is cut by it."""
FULL = 0.6
"""Part of the context that the request may fill before old outputs are put away."""

CACHE = {"type": "ephemeral", "ttl": "1h"}
"""An install waits on people and builds, so entries must outlive five minutes."""

_FATAL_CODES = frozenset(
    {
        "contract_spend_limit_reached",
        "enforced_spend_limit_reached",
        "linked_organization_spend_limit_reached",
        "organization_on_hold",
        "sandbox_egress_restricted",
    }
)
"""Error codes of the API that waiting does not mend, whatever status they come with."""

_ADVICE = {
    400: "the server did not accept the request; `skillrun doctor` says which model and server are used",
    401: "the key was not accepted: check ANTHROPIC_API_KEY, or run `skillrun doctor`",
    403: "this key may not use this model; choose another with --model",
    404: "this server does not know the model; choose another with --model",
}
_SPEND = "the account's spending limit is reached: raise it, use another key, or go on with --model builtin"
_LATER = "nothing is lost: `skillrun resume` goes on where this stopped"


@dataclass(slots=True)
class _Failure(Exception):
    """One attempt that gave no usable message."""

    reason: str
    hint: str = _LATER
    again: bool = True
    after_s: float | None = None
    too_long: bool = False
    thinking: bool = False


def preload() -> threading.Thread:
    """Import the client in a thread, so that its second or so passes while the person reads."""

    def load() -> None:
        import anthropic  # noqa: F401

    thread = threading.Thread(target=load, name="import-anthropic", daemon=True)
    thread.start()
    return thread


class AnthropicModel:
    """A model behind the Messages API.

    `base_url` empty: Anthropic's. `native`: cache and thinking fields are sent; default only to Anthropic's own server.
    """

    def __init__(
        self,
        model: str,
        credentials: Credentials | None = None,
        base_url: str = "",
        native: bool | None = None,
        sleep: Callable[[float], None] = time.sleep,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.name = model
        self.credentials, self.base_url = credentials, base_url
        self.native = is_anthropic(base_url) if native is None else native
        self.facts = model_facts(model)
        self._sleep, self._chance = sleep, chance
        self._client: Anthropic | None = None
        self._opaque = True
        self._budget = int(self.facts.context * FULL)

    def reply(self, brief: Brief, turns: Sequence[Turn]) -> Generator[Event, None, Reply]:
        """The next reply; shows text as it comes and says what it waits for. Raises ModelUnavailable."""
        turn = _Asking(self, render_brief(brief), turns)
        return (yield from turn.run())

    def client(self) -> Anthropic:
        """The official client, made once. Raises ModelUnavailable when no key can be found."""
        if self._client is None:
            import anthropic
            import httpx2

            known = self.credentials or Credentials("")
            # Anthropic's server sends a ping every few seconds; a local one is silent while it reads the prompt.
            timeout = httpx2.Timeout(60.0 if self.native else 900.0, connect=10.0)
            self._client = anthropic.Anthropic(
                api_key=known.api_key,
                auth_token=known.auth_token,
                base_url=self.base_url or None,
                timeout=timeout,
                max_retries=0,
            )
        return self._client

    def preflight(self) -> str:
        """Ask the server for this model without spending tokens; returns its display name. Raises ModelUnavailable."""
        import anthropic

        try:
            return str(self.client().models.retrieve(self.name).display_name or self.name)
        except anthropic.APIStatusError as error:
            text = error.api_message or "error"
            raise ModelUnavailable(f"{text[:300]} (status {error.status_code})", _ADVICE.get(error.status_code, "")) from None
        except anthropic.APIConnectionError as error:
            raise ModelUnavailable(f"the server cannot be reached ({_root(error)})", "check the network or a proxy") from None
        except (TypeError, anthropic.CredentialsError):
            raise ModelUnavailable("no API key was found", "set ANTHROPIC_API_KEY, or use --model builtin") from None

    def request(self, first: str, turns: Sequence[Turn], max_tokens: int = MAX_TOKENS) -> dict[str, Any]:
        """The body of the request for the next turn: the same turns give the same bytes."""
        limit = self._budget - 3_000 if self._budget else 0
        messages = Conversation(first, turns, self.name, limit, self._opaque).messages()
        body: dict[str, Any] = {
            "model": self.name,
            "max_tokens": min(max_tokens, self.facts.max_output),
            "system": [{"type": "text", "text": SYSTEM}],
            "tools": definitions(),
            "messages": messages,
        }
        if self.native:
            messages[0]["content"][0]["cache_control"] = CACHE
            body["cache_control"] = CACHE
            if self.facts.thinking:
                body["thinking"] = {"type": "adaptive", "display": "summarized"}
        return body


class _Asking:
    """One turn being asked for, over as many attempts as it takes."""

    def __init__(self, model: AnthropicModel, first: str, turns: Sequence[Turn]) -> None:
        self.model, self.first, self.turns = model, first, turns
        self.spent = Usage()
        self.max_tokens = MAX_TOKENS
        self.said: list[dict[str, Any]] = []

    def run(self) -> Generator[Event, None, Reply]:
        """Attempts until a message is whole, or until asking again cannot help."""
        waited = 0.0
        for attempt in range(1, ATTEMPTS + 1):
            try:
                message = yield from self._attempt()
                reply = self._judge(message)
                if reply is not None:
                    return reply
            except _Failure as failure:
                pause = self._pause(failure, attempt)
                if not failure.again or attempt == ATTEMPTS or waited + pause > PATIENCE_S:
                    raise ModelUnavailable(f"{self.model.name}: {failure.reason}", failure.hint) from None
                when = f"asking again in {pause:.0f} s" if pause >= 1 else "asking again"
                yield Noted(f"{self.model.name}: {failure.reason}; {when} ({attempt} of {ATTEMPTS - 1})", "warning")
                waited += pause
                self.model._sleep(pause)
        raise ModelUnavailable(f"{self.model.name}: no usable reply in {ATTEMPTS} attempts", _LATER)

    def _pause(self, failure: _Failure, attempt: int) -> float:
        """Seconds to wait: what the server asked for, else doubling from half a second with a quarter of jitter."""
        if failure.too_long or failure.thinking:
            return 0.0
        if failure.after_s is not None:
            return failure.after_s
        return min(30.0, 0.5 * 2.0 ** (attempt - 1)) * (1 - self.model._chance() / 4)

    def _judge(self, message: Message) -> Reply | None:
        """What to make of a whole message; None: ask again, adjusted. Raises _Failure."""
        reason = message.stop_reason
        if reason == "max_tokens":
            if self.max_tokens >= self.model.facts.max_output:
                raise _Failure(
                    f"its reply does not fit {self.max_tokens} tokens", "use a model with a longer output", again=False
                )
            self.max_tokens = self.model.facts.max_output
            return None
        if reason == "pause_turn":
            self.said += message.blocks
            return None
        if reason == "model_context_window_exceeded":
            self._shrink()
            raise _Failure("the conversation is too long; old outputs are put away", too_long=True)
        if reason == "refusal":
            return self._refused(message)
        blocks = (*self.said, *message.blocks)
        text = "\n\n".join(block["text"] for block in blocks if block.get("type") == "text" and block.get("text"))
        opaque = any(block.get("type") not in ("text", "tool_use") for block in blocks)
        return Reply(text, message.calls, self.model.name, self._usage(), reason, blocks if opaque else ())

    def _refused(self, message: Message) -> Reply:
        """A refusal ends the run honestly; nothing that came with it is carried out."""
        why = str(message.stop_details.get("explanation") or message.text or "the model gave no reason")
        call = ToolCall("refusal", "finish", {"outcome": "refused", "summary": why})
        return Reply(message.text, (call,), self.model.name, self._usage(), "refusal")

    def _usage(self) -> Usage:
        return replace(self.spent, cost_usd=self.model.facts.cost(self.spent))

    def _shrink(self) -> None:
        self.model._budget //= 2
        if self.model._budget < 4_000:
            raise _Failure("the skill and this run do not fit the model's context", "use a model with a longer context", False)

    def _attempt(self) -> Generator[Event, None, Message]:
        """One request and its stream. Raises _Failure for whatever went wrong, ModelUnavailable without a key."""
        import anthropic
        import httpx2

        body = self.model.request(self.first, self.turns, self.max_tokens)
        if self.said:
            body["messages"].append({"role": "assistant", "content": self.said})
        message = Message()
        try:
            client = self.model.client()
            with client.messages.with_streaming_response.create(**body, stream=True) as response:
                for event in anthropic.Stream.raw_events(response.http_response):
                    if text := message.feed(event.json() if event.data else {}):
                        yield Said(text)
            if not message.complete:
                raise StreamBroken("the connection ended in the middle of the reply")
        except (TypeError, anthropic.CredentialsError) as error:
            if isinstance(error, TypeError) and "authentication" not in str(error):
                raise
            raise ModelUnavailable("no API key was found", "set ANTHROPIC_API_KEY, or use --model builtin") from None
        except anthropic.APIStatusError as error:
            raise self._status(error) from None
        except anthropic.APITimeoutError:
            raise _Failure("the server did not answer in time") from None
        except anthropic.APIConnectionError as error:
            raise _Failure(
                f"the server cannot be reached ({_root(error)})", "check the network, a proxy, or the base URL"
            ) from None
        except ServerSaid as said:
            raise self._said(said) from None
        except httpx2.TimeoutException:
            raise _Failure("the reply stopped coming") from None
        except (StreamBroken, httpx2.HTTPError, httpx2.StreamError, ValueError) as error:
            raise _Failure(f"the reply was cut ({error})") from None
        finally:
            self.spent = _sum(self.spent, message.usage)
        return message

    def _status(self, error: APIStatusError) -> _Failure:
        """An HTTP error, or an error event that the client turned into one, as what to do about it."""
        status, text = error.status_code, (error.api_message or "").strip()
        what = f"{text[:300] or 'error'} (status {status})"
        lower = text.lower()
        if error.error_code in _FATAL_CODES or error.type == "billing_error" or status == 402 or _about_money(lower):
            return _Failure(what, _SPEND, again=False)
        if status == 413 or (status == 400 and "too long" in lower):
            self._shrink()
            return _Failure("the conversation is too long; old outputs are put away", too_long=True)
        if status == 400 and self.model._opaque and ("thinking" in lower or "signature" in lower):
            self.model._opaque = False
            return _Failure("the server does not accept earlier thinking; leaving it out", thinking=True)
        if error.response.headers.get("x-should-retry") == "false":
            return _Failure(what, _ADVICE.get(status, _LATER), again=False)
        again = status in (408, 409, 425, 429) or status >= 500 or error.type in ("overloaded_error", "api_error")
        return _Failure(what, _ADVICE.get(status, _LATER), again=again, after_s=_retry_after(error.response.headers))

    def _said(self, error: ServerSaid) -> _Failure:
        again = error.kind in ("overloaded_error", "api_error", "rate_limit_error", "timeout_error")
        if error.kind == "billing_error" or _about_money(str(error).lower()):
            return _Failure(str(error), _SPEND, again=False)
        return _Failure(f"{str(error)[:300]} ({error.kind})", again=again)


def _about_money(text: str) -> bool:
    return "spend limit" in text or "spending limit" in text or "credit balance" in text


def _retry_after(headers: Any) -> float | None:
    """Seconds the server asks to wait (`retry-after-ms`, `retry-after` in seconds or as a date), None when it does not."""
    from email.utils import parsedate_to_datetime

    for name, unit in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        value = headers.get(name)
        if value is None:
            continue
        try:
            return max(0.0, float(value) / unit)
        except ValueError:
            pass
        try:
            return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
        except (ValueError, TypeError):
            pass
    return None


def _root(error: BaseException) -> str:
    """The innermost reason, which names the host or the missing name."""
    while error.__cause__ is not None:
        error = error.__cause__
    return str(error) or type(error).__name__


def _sum(one: Usage, two: Usage) -> Usage:
    return Usage(
        one.input_tokens + two.input_tokens,
        one.output_tokens + two.output_tokens,
        one.cache_read_tokens + two.cache_read_tokens,
        one.cache_write_tokens + two.cache_write_tokens,
    )
