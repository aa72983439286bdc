"""Why one attempt to get a reply failed, and what helps: asking again, asking for something else, or nothing.

Pure: it reads what a server or the network said, in the forms of Anthropic's API and of the servers that speak it
too. Nothing here asks again; that is the client's.
"""

from __future__ import annotations

import contextlib
import json
import math
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from skillrun.llm.stream import ServerSaid

LATER = "nothing is lost: `skillrun resume` goes on where this stopped"
_SPEND = "the account's spending limit is reached: raise it, use another key, or go on with --model builtin"
_ADVICE = {
    400: "the server did not accept the request; `skillrun doctor` says which model and server are used",
    401: "the key was not accepted: check ANTHROPIC_API_KEY, or run `skillrun doctor`",
    403: "this key may not use this model; choose another with --model",
    404: "this server does not know the model; choose another with --model",
}

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

_TOO_LONG = re.compile(r"too long|maximum context|context[ _](?:length|size|window)|exceed\w* .*context", re.IGNORECASE)
"""How a request that does not fit is called: by Anthropic, vLLM, llama.cpp, LM Studio, LiteLLM."""
_LONG_REPLY = re.compile(r"\bmax_(?:completion_)?tokens\b", re.IGNORECASE)
"""The field for which a reply longer than the server writes is refused: Anthropic's name, and that of vLLM and Scaleway."""
_MONEY = re.compile(r"spend(?:ing)? limit|credit balance", re.IGNORECASE)


@dataclass(slots=True)
class Failure(Exception):
    """One attempt that gave no usable message. `again`: another may; `after_s`: so long the server wants to be left alone."""

    reason: str
    hint: str = LATER
    again: bool = True
    after_s: float | None = None
    mend: str = ""
    """What must change before it is asked again, at once: shorter (less text goes in) | brief (less is to come out) |
    plain (no earlier thinking goes in)."""


def advice(status: int) -> str:
    """What a person can do about an HTTP status."""
    return _ADVICE.get(status, LATER)


def of_status(status: int, body: Any, headers: Mapping[str, str], kind: str = "", code: str = "") -> Failure:
    """An HTTP error. `kind` and `code` are the API's own names for it, where it gave some."""
    text = error_text(body)
    what, lower = f"{text[:300] or 'error'} (status {status})", text.lower()
    if 300 <= status < 400:
        where = headers.get("location", "elsewhere")[:200]
        return Failure(f"the server sends us to {where}", "set ANTHROPIC_BASE_URL to the address that is meant", again=False)
    if code in _FATAL_CODES or kind == "billing_error" or status == 402 or _MONEY.search(text):
        return Failure(what, _SPEND, again=False)
    if status == 400 and _LONG_REPLY.search(text):
        return Failure(what, advice(status), mend="brief")
    if status == 413 or (status < 500 and status != 429 and _TOO_LONG.search(text)):
        return Failure("the conversation is too long; old outputs are put away", mend="shorter")
    if status == 400 and ("thinking" in lower or "signature" in lower):
        return Failure(what, advice(status), mend="plain")
    if headers.get("x-should-retry") == "false":
        return Failure(what, advice(status), again=False)
    again = status in (408, 409, 425, 429) or status >= 500 or kind in ("overloaded_error", "api_error")
    return Failure(what, advice(status), again=again, after_s=retry_after(headers))


def of_event(error: ServerSaid) -> Failure:
    """An error event in mid-stream, where the status was 200 already."""
    if error.kind == "billing_error" or _MONEY.search(str(error)):
        return Failure(str(error)[:300], _SPEND, again=False)
    again = error.kind in ("overloaded_error", "api_error", "rate_limit_error", "timeout_error")
    return Failure(f"{str(error)[:300]} ({error.kind})", again=again)


def of_connection(error: BaseException) -> Failure:
    """A connection that was not made: a certificate or an address that is wrong stays wrong, a network may come back."""
    import ssl

    causes = _causes(error)
    reason = root(error)
    what = f"the server cannot be reached ({reason[:200]})"
    if any(isinstance(cause, ssl.SSLError) for cause in causes) and "certificate" in reason.lower():
        hint = (
            "its certificate is not trusted here: name your authority's file in SSL_CERT_FILE; checking is never switched off"
        )
        return Failure(what, hint, again=False)
    if any(type(cause).__name__ in ("UnsupportedProtocol", "InvalidURL") for cause in causes):
        return Failure(what, "ANTHROPIC_BASE_URL and proxy variables must begin with http:// or https://", again=False)
    return Failure(what, "check the network, a proxy, or the base URL")


def error_text(body: Any) -> str:
    """The message of an error: the API's `{"error": {"message": ...}}`, or what other servers put in its place."""
    if isinstance(body, str) and "<" not in body[:100]:  # a page is no message
        return body.strip()
    if not isinstance(body, Mapping):
        return ""
    found = next((body[key] for key in ("error", "message", "detail") if body.get(key)), "")
    if isinstance(found, Mapping):
        found = found.get("message") or json.dumps(found, default=str)
    return (found if isinstance(found, str) else json.dumps(found, default=str)).strip()


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds the server asks to wait (`retry-after-ms`, `retry-after` in seconds or as a date), None when it does not."""
    from email.utils import parsedate_to_datetime

    for name, unit in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        value = headers.get(name)
        if value is None:
            continue
        with contextlib.suppress(ValueError):
            seconds = float(value) / unit
            return max(0.0, seconds) if math.isfinite(seconds) else None
        with contextlib.suppress(ValueError, TypeError, OverflowError):
            return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    return None


def root(error: BaseException) -> str:
    """The innermost reason, which names the host or the missing name."""
    while error.__cause__ is not None:
        error = error.__cause__
    return str(error) or type(error).__name__


def _causes(error: BaseException) -> list[BaseException]:
    """An error and what led to it, the innermost last."""
    found = [error]
    while (inner := found[-1].__cause__ or found[-1].__context__) is not None and inner not in found:
        found.append(inner)
    return found
