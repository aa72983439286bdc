"""Claude, or any server that speaks the Messages API, through the official client.

The client is imported when the first request is made (or by `preload` in a thread beside other work). Its own
retries are off: a whole turn is asked again here, where a person can see it, and only when that can help.
"""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from skillrun.events import Event, Noted, Reply, Said, ToolCall, Turn, Usage
from skillrun.llm.catalog import ModelFacts, model_facts
from skillrun.llm.conversation import Conversation, estimate
from skillrun.llm.credentials import Credentials, api_root, is_anthropic, is_local
from skillrun.llm.errors import LATER, Failure, advice, error_text, of_connection, of_event, of_status
from skillrun.llm.prompt import SYSTEM, render_brief
from skillrun.llm.stream import Message, ServerSaid, StreamBroken
from skillrun.llm.tools import definitions
from skillrun.ports import Brief, ModelUnavailable

if TYPE_CHECKING:
    import ssl

    from anthropic import Anthropic, APIStatusError

ATTEMPTS = 7
"""How often one turn is asked for before the model counts as unavailable."""
PATIENCE_S = 600.0
"""Seconds of waiting that one turn may add up to, whatever the server asks for."""
MAX_TOKENS = 16_000
"""Output asked for at first; raised once when a reply is cut by it."""
LEAST_TOKENS = 1_024
"""A server that cannot write this much cannot carry a skill out."""
FULL = 0.6
"""Part of the context that the request may fill before old outputs are put away."""
SILENT_S = 300.0
"""Seconds for which a server may send signs of life alone, on a stream that has begun."""

CACHE = {"type": "ephemeral", "ttl": "1h"}
"""An install waits on people and builds, so entries must outlive five minutes."""


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
        facts: ModelFacts | None = None,
    ) -> None:
        self.name = model
        self.credentials, self.base_url = credentials, api_root(base_url)
        self.native = is_anthropic(base_url) if native is None else native
        self.facts = facts or model_facts(model)
        self.paid = (model,) if self.facts.price else ()
        self._sleep, self._chance = sleep, chance
        self._client: Anthropic | None = None
        self._opaque = True
        self._max_tokens = min(MAX_TOKENS, self.facts.max_output)
        self._budget = int(self.facts.context * FULL)

    hears = True

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
            # No connection is kept for the next turn: a command lies between, the server may close it at any time, and
            # whether a request on a closed one was seen cannot be told. A redirect would take the key to another server.
            limits, local = httpx2.Limits(max_keepalive_connections=0), is_local(self.base_url)
            # A server on this machine is never asked through a proxy, which the client's own transport would always do.
            make = httpx2.Client if local else anthropic.DefaultHttpxClient
            trusted = _nobody() if local and self.base_url.startswith("http://") else True
            self._client = anthropic.Anthropic(
                api_key=known.api_key,
                auth_token=known.auth_token,
                base_url=self.base_url or None,
                timeout=timeout,
                max_retries=0,
                http_client=make(timeout=timeout, limits=limits, follow_redirects=False, trust_env=not local, verify=trusted),
            )
        return self._client

    def preflight(self) -> str:
        """Ask the server for this model without spending tokens; returns its display name. Raises ModelUnavailable."""
        import anthropic

        try:
            return str(self.client().models.retrieve(self.name).display_name or self.name)
        except anthropic.APIStatusError as error:
            text = error_text(error.body) or "error"
            raise ModelUnavailable(f"{text[:300]} (status {error.status_code})", advice(error.status_code)) from None
        except anthropic.APIConnectionError as error:
            failure = of_connection(error)
            raise ModelUnavailable(failure.reason, failure.hint) from None
        except (TypeError, anthropic.CredentialsError):
            raise ModelUnavailable("no API key was found", "set ANTHROPIC_API_KEY, or use --model builtin") from None

    def request(self, first: str, turns: Sequence[Turn], max_tokens: int | None = None) -> dict[str, Any]:
        """The body of the request for the next turn: the same turns give the same bytes."""
        limit = self._budget - 3_000 if self._budget else 0
        messages = Conversation(first, turns, self.name, limit, self._opaque).messages()
        body: dict[str, Any] = {
            "model": self.name,
            "max_tokens": max_tokens or self._max_tokens,
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
        self.max_tokens = model._max_tokens
        self.most = max(model.facts.max_output if model.facts.price else MAX_TOKENS, self.max_tokens)
        """What the server may be asked to write: what the model is known for, else as much until it refuses."""
        self.said: list[dict[str, Any]] = []

    def run(self) -> Generator[Event, None, Reply]:
        """Attempts until a message is whole, or until asking again cannot help."""
        waited = 0.0
        for attempt in range(1, ATTEMPTS + 1):
            try:
                message = yield from self._attempt()
                reply = self._judge(message)
                if reply is not None:
                    if message.wished and not reply.calls:
                        yield Noted(f"a call in a message that ended with {message.stop_reason} is not carried out", "warning")
                    return reply
            except Failure as stop:
                failure = self._mended(stop)
                pause = self._pause(failure, attempt)
                if not failure.again or attempt == ATTEMPTS or waited + pause > PATIENCE_S:
                    raise ModelUnavailable(f"{self.model.name}: {failure.reason}", failure.hint) from None
                when = f"asking again in {pause:.0f} s" if pause >= 1 else "asking again"
                yield Noted(f"{self.model.name}: {failure.reason}; {when} ({attempt} of {ATTEMPTS - 1})", "warning")
                waited += pause
                self.model._sleep(pause)
        raise ModelUnavailable(f"{self.model.name}: no usable reply in {ATTEMPTS} attempts", LATER)

    def _pause(self, failure: Failure, attempt: int) -> float:
        """Seconds to wait: what the server asked for, else doubling from half a second with a quarter of jitter."""
        if failure.mend:
            return 0.0
        if failure.after_s is not None:
            return failure.after_s
        return min(30.0, 0.5 * 2.0 ** (attempt - 1)) * (1 - self.model._chance() / 4)

    def _judge(self, message: Message) -> Reply | None:
        """What to make of a whole message; None: ask again, adjusted. Raises Failure."""
        reason = message.stop_reason
        if reason == "max_tokens":
            if self.max_tokens >= self.most:
                raise Failure(
                    f"its reply does not fit {self.max_tokens} tokens", "use a model with a longer output", again=False
                )
            self.max_tokens = self.most
            return None
        if reason == "pause_turn":
            self.said += [block for block in message.blocks if block.get("type") != "tool_use"]
            return None
        if reason == "model_context_window_exceeded":
            raise Failure("the conversation is too long; old outputs are put away", mend="shorter")
        if reason == "refusal":
            return self._refused(message)
        # A call that is not carried out gets no result, so it may not be sent back either.
        blocks = (*self.said, *(block for block in message.blocks if message.calls or block.get("type") != "tool_use"))
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

    def _attempt(self) -> Generator[Event, None, Message]:
        """One request and its stream. Raises Failure for whatever went wrong, ModelUnavailable without a key."""
        import anthropic
        import httpx2

        body = self.model.request(self.first, self.turns, self.max_tokens)
        if self.said:
            body["messages"].append({"role": "assistant", "content": self.said})
        message = Message()
        try:
            client = self.model.client()
            with client.messages.with_streaming_response.create(**body, stream=True) as response:
                yield from _read(response.http_response, message)
            if not message.complete:
                raise StreamBroken("the connection ended in the middle of the reply")
        except (TypeError, anthropic.CredentialsError) as error:
            if isinstance(error, TypeError) and "authentication" not in str(error):
                raise
            raise ModelUnavailable("no API key was found", "set ANTHROPIC_API_KEY, or use --model builtin") from None
        except anthropic.APIStatusError as error:
            raise self._status(error) from None
        except anthropic.APITimeoutError:
            raise Failure("the server did not answer in time") from None
        except anthropic.APIConnectionError as error:
            raise of_connection(error) from None
        except ServerSaid as said:
            raise of_event(said) from None
        except httpx2.TimeoutException:
            raise Failure("the reply stopped coming") from None
        except (StreamBroken, httpx2.HTTPError, httpx2.StreamError, ValueError, RecursionError) as error:
            raise Failure(f"the reply was cut ({str(error)[:200]})") from None
        finally:
            self.spent = _sum(self.spent, message.usage(estimate(body)))
        return message

    def _mended(self, failure: Failure) -> Failure:
        """Change what this failure wants changed; one that is final when it cannot be."""
        if failure.mend == "shorter":
            self.model._budget //= 2
            if self.model._budget < 4_000:
                return Failure(
                    "the skill and this run do not fit the model's context", "use a model with a longer context", again=False
                )
        elif failure.mend == "brief" and self.max_tokens > LEAST_TOKENS:
            self.most = self.model._max_tokens = self.max_tokens = max(LEAST_TOKENS, self.max_tokens // 4)
            failure.reason = f"the server does not write so long a reply; asking for {self.most} tokens"
        elif failure.mend == "plain" and self.model._opaque:
            self.model._opaque = False
            failure.reason = "the server does not accept earlier thinking; leaving it out"
        elif failure.mend:
            failure.mend, failure.again = "", False
        return failure

    def _status(self, error: APIStatusError) -> Failure:
        """An HTTP error, or an error event that the client turned into one, as what to do about it."""
        failure = of_status(error.status_code, error.body, error.response.headers, error.type or "", error.error_code or "")
        if error.status_code == 404 and (offered := self._offered()):
            failure.hint = offered
        return failure

    def _offered(self) -> str:
        """Which models another server than Anthropic's has, for a person who named one that it has not."""
        if not self.model.base_url or is_anthropic(self.model.base_url):
            return ""
        from skillrun.llm.servers import models_at

        known = self.model.credentials or Credentials("")
        found = models_at(self.model.base_url, known.api_key or known.auth_token or "") or ()
        return f"it offers {', '.join(found[:8])}; name one with --model" if found else ""


def _nobody() -> ssl.SSLContext:
    """No authority is trusted: for a server without TLS. Reading all that the system trusts takes 3 MB and some time."""
    import ssl

    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def _read(response: Any, message: Message) -> Generator[Event, None, None]:
    """Feed a message from an answer, to its last event and no further. Raises as `Message.feed`, or ValueError."""
    import anthropic

    kind = str(response.headers.get("content-type", "")).partition(";")[0].strip().lower()
    if kind == "application/json":  # asked to stream, it did not
        response.read()
        body = json.loads(response.content)
        if not isinstance(body, dict) or not (body.get("type") == "message" or body.get("error")):
            raise Failure("the answer is no message of this API", "is this the base URL of a model server?", again=False)
        yield Said(message.take(body))
        return
    if kind == "text/html":
        raise Failure("a web page came instead of a reply", "is this the base URL of a model server?", again=False)
    heard = time.monotonic()
    for event in anthropic.Stream.raw_events(response):
        if event.data and event.event != "ping":
            heard = time.monotonic()
            if text := message.feed(event.json()):
                yield Said(text)
        if message.complete:  # what follows, such as another API's `[DONE]`, is nothing to us
            return
        if time.monotonic() - heard > SILENT_S:
            raise StreamBroken(f"signs of life and nothing else for {SILENT_S:.0f} s")


def _sum(one: Usage, two: Usage) -> Usage:
    return Usage(
        one.input_tokens + two.input_tokens,
        one.output_tokens + two.output_tokens,
        one.cache_read_tokens + two.cache_read_tokens,
        one.cache_write_tokens + two.cache_write_tokens,
    )
