"""Servers of other people, the real programs, in front of a scripted backend: whole installs through the real client.

Each is installed from its registry into a directory of its own by `SERVERS[...]`, which is its start script. Slow: a first
run fetches some hundred packages.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from skillrun.events import Noted, Reply
from skillrun.llm.credentials import Credentials
from skillrun.models.anthropic import AnthropicModel
from skillrun.ports import Brief, ModelUnavailable
from skillrun.skills.skill import Skill
from tests.openai_backend import Line, OpenAIBackend, fails, says
from tests.test_model_runs import SKILL

pytestmark = pytest.mark.slow

KEY = "sk-4f9c2e7a61b84d0f9a3c5e7d1b2f4a68"
KEPT = Path(os.environ.get("KEPT_TEST_SERVERS", "/var/tmp/skillrun-test-servers"))
"""Where servers are installed, once for all runs."""

LITELLM = f"""
set -e
[ -x "$0/bin/litellm" ] || {{ {sys.executable} -m venv "$0"; "$0/bin/pip" install -q 'litellm[proxy]'; }}
cat > "$1/config.yaml" <<EOF
model_list:
  - model_name: small
    litellm_params: {{model: hosted_vllm/backend, api_base: "$2", api_key: none}}
litellm_settings: {{telemetry: false, num_retries: 0}}
general_settings: {{master_key: {KEY}}}
EOF
export LITELLM_LOCAL_MODEL_COST_MAP=True NO_PROXY=127.0.0.1
exec "$0/bin/litellm" --config "$1/config.yaml" --host 127.0.0.1 --port "$3"
"""
"""Arguments: where it is installed, a folder for its settings, the backend's URL, the port to listen on."""


@contextmanager
def litellm(folder: Path, backend: OpenAIBackend) -> Iterator[str]:
    """LiteLLM's proxy in front of the backend; its base URL."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    KEPT.mkdir(parents=True, exist_ok=True)
    with (folder / "server.log").open("wb") as log:
        server = subprocess.Popen(
            ["bash", "-c", LITELLM, str(KEPT / "litellm"), str(folder), backend.url, str(port)],
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        until = time.monotonic() + 900
        while not _answers(f"http://127.0.0.1:{port}/health/liveliness"):
            assert server.poll() is None, (folder / "server.log").read_text()[-2000:]
            assert time.monotonic() < until, "the server did not come up"
            time.sleep(0.5)
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def _answers(url: str) -> bool:
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=2):
            return True
    except OSError:
        return False


WORK = says("Writing it.", shell={"command": "echo yes > $HOME/made", "why": "what the skill asks for"})
DONE = says("", finish={"outcome": "done", "summary": "it is there"})
TWO: Line = {"text": "", "calls": [("shell", {"command": "true", "why": "a"}), ("read_file", {"path": "/etc/hostname"})]}


def test_a_whole_install_through_litellm(tmp_path: Path) -> None:
    """Tool calls, several in one reply, an overload, a full context, text alone, a bad key."""
    script = [TWO, fails(429, "slow down"), WORK, fails(400, "maximum context length is 10 tokens"), DONE]
    with OpenAIBackend([*script, says("just text")]) as backend, litellm(tmp_path, backend) as url:
        (tmp_path / "made.skill").mkdir()
        (tmp_path / "made.skill/SKILL.md").write_text(SKILL)
        env = {"HOME": str(tmp_path), "PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "PYTHONPATH": os.getcwd()}
        command = [sys.executable, "-m", "skillrun", "install", "./made.skill", "--approve", "all", "--no-input"]
        env |= {"ANTHROPIC_BASE_URL": url, "ANTHROPIC_API_KEY": KEY}
        done = subprocess.run(
            [*command, "--model", "small"], env=env, cwd=tmp_path, capture_output=True, text=True, timeout=180
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert KEY not in done.stdout + done.stderr
        assert "asking again" in done.stdout + done.stderr
        assert "the conversation is too long" in done.stdout + done.stderr
        asked = backend.requests[1]["messages"]
        assert [each["role"] for each in asked][-3:] == ["assistant", "tool", "tool"]
        assert {tool["function"]["name"] for tool in backend.requests[0]["tools"]} >= {"shell", "finish"}
        model = AnthropicModel("small", Credentials("t", KEY), url)
        assert _reply(model).text == "just text"
        with pytest.raises(ModelUnavailable):
            _reply(AnthropicModel("small", Credentials("t", "sk-wrong-0123456789abcdef"), url))
        with pytest.raises(ModelUnavailable, match="nobody"):
            _reply(AnthropicModel("nobody", Credentials("t", KEY), url))


def _reply(model: AnthropicModel) -> Reply:
    stream = model.reply(Brief(Skill("x", "x", "", "skill", "Install x.")), [])
    while True:
        try:
            event = next(stream)
            assert not isinstance(event, Noted), event
        except StopIteration as stop:
            return stop.value  # type: ignore[no-any-return]
