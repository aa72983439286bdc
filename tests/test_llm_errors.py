"""What a failed attempt means: pure, one row of a table for each thing a server or a network says."""

from __future__ import annotations

import time
from email.utils import formatdate
from typing import Any

import pytest

from skillrun.llm.errors import error_text, of_event, of_status, retry_after
from skillrun.llm.stream import ServerSaid


def api(text: str) -> dict[str, Any]:
    """An error as Anthropic's API words it."""
    return {"type": "error", "error": {"type": "invalid_request_error", "message": text}}


@pytest.mark.parametrize(
    ("status", "body", "mend"),
    [
        (400, api("prompt is too long: 210000 tokens > 200000 maximum"), "shorter"),
        (413, api("Request exceeds the maximum size"), "shorter"),
        (413, "<html><h1>413 Request Entity Too Large</h1></html>", "shorter"),
        (400, {"error": {"message": "This model's maximum context length is 4096 tokens."}}, "shorter"),
        (400, {"error": {"message": "the request exceeds the available context size", "code": 400}}, "shorter"),
        (400, {"error": "Trying to keep the first 9000 tokens when context length is only 4096"}, "shorter"),
        (400, {"error": {"message": "litellm.ContextWindowExceededError: context window exceeded"}}, "shorter"),
        (400, api("max_tokens: 64000 > 32000, which is the maximum allowed number of output tokens"), "brief"),
        (400, api("max_completion_tokens=8192 cannot be greater than max_model_len=7000. (parameter=x, value=8192)"), "brief"),
        (400, {"error": {"message": "max_completion_tokens is limited for this model"}}, "brief"),
        (400, api("maximum context length is 8192 tokens; your prompt has 8193 (parameter=input_tokens)"), "shorter"),
        (400, api("messages.3: `thinking` blocks cannot be modified; invalid `signature`"), "plain"),
        (400, api("tools.0: bad schema"), ""),
        (429, api("Number of tokens is too long for this minute"), ""),
        (500, api("context length exceeded while crashing"), ""),
    ],
)
def test_what_must_change_before_it_is_asked_again(status: int, body: Any, mend: str) -> None:
    """Too much text in, too much asked for, thinking that is not accepted: each server's own words for it."""
    assert of_status(status, body, {}).mend == mend


@pytest.mark.parametrize(
    ("status", "again"),
    [
        *((status, False) for status in (301, 302, 307, 308, 400, 401, 402, 403, 404, 405, 422)),
        *((status, True) for status in (408, 409, 425, 429, 500, 502, 503, 504, 529)),
    ],
)
def test_which_statuses_pass_by_themselves(status: int, again: bool) -> None:
    """The network's and the server's own troubles pass; a key, a model, a body or an address that is wrong does not."""
    assert of_status(status, "<html><body>nginx</body></html>", {}).again is again


def test_a_redirect_is_named_and_not_followed() -> None:
    """A redirect would carry the key to another server."""
    failure = of_status(308, "", {"location": "https://elsewhere.invalid/v1/messages"})
    assert "https://elsewhere.invalid" in failure.reason
    assert "ANTHROPIC_BASE_URL" in failure.hint
    assert not failure.again


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (api("nope"), "nope"),
        ({"error": "model 'x' not found, try pulling it first"}, "model 'x' not found, try pulling it first"),
        ({"object": "error", "message": "The model `x` does not exist."}, "The model `x` does not exist."),
        ({"detail": [{"loc": ["body"], "msg": "field required"}]}, '[{"loc": ["body"], "msg": "field required"}]'),
        ({"error": {"code": 5}}, '{"code": 5}'),
        ("not found", "not found"),
        ("<html>a page</html>", ""),
        (None, ""),
        ([], ""),
        ({}, ""),
    ],
)
def test_the_words_of_an_error_are_found(body: Any, says: str) -> None:
    """The API's form, and those of Ollama, vLLM, FastAPI and a web server; a page is no message."""
    assert error_text(body) == says


def test_how_long_a_server_wants_to_be_left_alone() -> None:
    """Seconds, milliseconds, a date; nonsense counts as nothing, the past as now."""
    assert retry_after({"retry-after": "7"}) == 7
    assert retry_after({"retry-after": "0.5"}) == 0.5
    assert retry_after({"retry-after-ms": "250", "retry-after": "9"}) == 0.25
    assert retry_after({"retry-after": "-3"}) == 0
    later = retry_after({"retry-after": formatdate(time.time() + 90, usegmt=True)})
    assert later is not None
    assert 80 < later <= 91
    assert retry_after({"retry-after": formatdate(0, usegmt=True)}) == 0
    for nonsense in ("nan", "inf", "-inf", "soon", "", "Mon, 99 Foo 2026 99:99:99 GMT"):
        assert retry_after({"retry-after": nonsense}) is None, nonsense
    assert retry_after({}) is None


@pytest.mark.parametrize(
    ("kind", "text", "again"),
    [
        ("overloaded_error", "Overloaded", True),
        ("api_error", "Internal", True),
        ("rate_limit_error", "slow down", True),
        ("rate_limit_error", "your spend limit is reached", False),
        ("billing_error", "pay", False),
        ("invalid_request_error", "bad", False),
        ("authentication_error", "who", False),
    ],
)
def test_an_error_in_mid_stream(kind: str, text: str, again: bool) -> None:
    """The status was 200 already; the kind decides."""
    assert of_event(ServerSaid(kind, text)).again is again
