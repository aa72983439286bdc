"""Which model speaks, with which key, and what doctor says about it."""

from __future__ import annotations

import datetime
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from skillrun.errors import Problem
from skillrun.events import Usage
from skillrun.host.config import Config, ConfigError, config_path, load_config
from skillrun.llm.catalog import default_model, known_models, model_facts, prices_read, small_model
from skillrun.llm.credentials import NoCredentials, find_credentials, is_anthropic
from skillrun.models.chain import ChainModel
from skillrun.models.choose import choices, choose_model
from skillrun.secrets import Vault, secret_values
from tests.messages_server import Fault, MessagesServer, error, say

NONE = Config(Path("/nowhere/config.toml"))


def home(tmp_path: Path, **more: str) -> dict[str, str]:
    """An environment with an empty home."""
    return {"HOME": str(tmp_path), "PATH": os.environ["PATH"], **more}


def config(**model: object) -> Config:
    """A configuration with this [model] table."""
    return Config(Path("/etc/skillrun.toml"), {"model": model})


def test_the_environment_comes_first(tmp_path: Path) -> None:
    """Key before token before profile before command."""
    command = config(api_key_command="echo from-command")
    env = home(tmp_path, ANTHROPIC_API_KEY="k", ANTHROPIC_AUTH_TOKEN="t", ANTHROPIC_PROFILE="dev")
    assert (found := find_credentials(command, environ=env))
    assert (found.source, found.api_key) == ("ANTHROPIC_API_KEY", "k")
    del env["ANTHROPIC_API_KEY"]
    assert (found := find_credentials(command, environ=env))
    assert (found.api_key, found.auth_token) == (None, "t")
    del env["ANTHROPIC_AUTH_TOKEN"]
    assert (found := find_credentials(command, environ=env))
    assert found.source == "ANTHROPIC_PROFILE=dev"
    del env["ANTHROPIC_PROFILE"]
    assert (found := find_credentials(command, environ=env))
    assert found.api_key == "from-command"
    assert find_credentials(NONE, environ=env) is None


def test_the_clients_own_profile_is_found(tmp_path: Path) -> None:
    """A profile the Anthropic client would use counts, without importing the client."""
    folder = tmp_path / ".config/anthropic/configs"
    folder.mkdir(parents=True)
    (folder / "default.json").write_text("{}")
    found = find_credentials(NONE, environ=home(tmp_path))
    assert found is not None
    assert found.source == "profile default"
    assert found.api_key is None


def test_a_key_never_shows(tmp_path: Path) -> None:
    """Printing credentials shows where the key came from, not the key."""
    found = find_credentials(NONE, environ=home(tmp_path, ANTHROPIC_API_KEY="sk-very-secret"))
    assert "sk-very-secret" not in repr(found)


@pytest.mark.parametrize("key", ["sk-1234", "/srv/keys/1", "7654321", "https://key.invalid/9", "pass word", "sk-ant-api03-x"])
def test_its_own_key_is_masked_whatever_its_shape(tmp_path: Path, key: str) -> None:
    """Where the environment has it, whoever decides the run; and where another place gave it, when a model is chosen."""
    environment = Vault()
    for name, value in secret_values({"ANTHROPIC_API_KEY": key}).items():
        environment.hide(value, name)
    assert environment.mask(f"<{key}>") == "<[secret:ANTHROPIC_API_KEY]>"
    chosen = Vault()
    command = config(api_key_command=f"echo {shlex.quote(key)}", base_url="http://127.0.0.1:9")
    choose_model("test", command, home(tmp_path), chosen.hide)
    assert chosen.mask(f"<{key}>") == "<[secret:model key]>"


@pytest.mark.parametrize("word", ["ollama", "none", "lm-studio"])
def test_a_word_for_a_server_without_keys_is_no_secret(tmp_path: Path, word: str) -> None:
    """What is given to a server on this machine in a key's place stays readable: the skill may be about it."""
    assert secret_values({"ANTHROPIC_API_KEY": word}) == {}
    chosen = Vault()
    env = home(tmp_path, ANTHROPIC_API_KEY=word, ANTHROPIC_BASE_URL="http://127.0.0.1:9")
    choose_model("test", NONE, env, chosen.hide)
    assert chosen.mask(word) == word


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("exit 3", "exit code 3"),
        ("echo broken >&2; exit 1", "broken"),
        ("true", "gave no key"),
        ("no-such-program", "gave no key"),
    ],
)
def test_a_key_command_that_fails_is_named(tmp_path: Path, command: str, says: str) -> None:
    """A failing api_key_command stops before the run, with what it said."""
    with pytest.raises(NoCredentials, match=says):
        find_credentials(config(api_key_command=command), environ=home(tmp_path))


def test_a_foreign_server_gets_no_key_of_anthropics(tmp_path: Path) -> None:
    """Profile and keyring are for Anthropic's server; a local one needs no key and gets none of these."""
    folder = tmp_path / ".config/anthropic/configs"
    folder.mkdir(parents=True)
    (folder / "default.json").write_text("{}")
    found = find_credentials(NONE, "http://127.0.0.1:11434", home(tmp_path))
    assert found is not None
    assert found.api_key == "none"


@pytest.mark.parametrize(
    ("url", "own"),
    [
        ("", True),
        ("https://api.anthropic.com", True),
        ("https://eu.api.anthropic.com/", True),
        ("http://127.0.0.1:8080", False),
        ("https://api.anthropic.com.evil.example", False),
        ("https://notanthropic.com", False),
        ("http://localhost/anthropic.com", False),
    ],
)
def test_only_anthropics_own_host_is_anthropic(url: str, own: bool) -> None:
    """The host decides, not a piece of the URL."""
    assert is_anthropic(url) is own


def test_auto_without_a_key_is_the_builtin_engine(tmp_path: Path) -> None:
    """No key and no base URL: rules, and the reason is said."""
    (choice,) = choices("auto", NONE, home(tmp_path))
    assert (choice.kind, "no API key" in choice.why) == ("builtin", True)


def test_auto_with_a_key_begins_with_what_costs_least(tmp_path: Path) -> None:
    """The rules, then a small model, then the larger one; configuration and environment may name another behind the rules."""
    env = home(tmp_path, ANTHROPIC_API_KEY="k")
    found = choices("auto", NONE, env)
    assert [choice.name for choice in found] == ["builtin", small_model(), default_model()]
    assert found[1].native
    assert all(choice.why for choice in found)
    named = choices("auto", NONE, {**env, "ANTHROPIC_MODEL": "claude-opus-5-5"})
    assert [choice.name for choice in named] == ["builtin", "claude-opus-5-5"]
    assert choices("auto", config(name="claude-haiku-5-5"), env)[1].name == "claude-haiku-5-5"


def test_auto_asks_a_foreign_server_what_it_offers(tmp_path: Path) -> None:
    """A base URL alone: the model is one the server names, and none of Anthropic's own fields are sent."""
    with MessagesServer() as server:
        _, choice = choices("auto", NONE, home(tmp_path, ANTHROPIC_BASE_URL=server.url))
        assert (choice.name, choice.native, choice.base_url) == ("test", False, server.url)
        server.models = ("x", default_model(), small_model())
        found = choices("auto", NONE, home(tmp_path, ANTHROPIC_BASE_URL=server.url))
        assert [choice.name for choice in found] == ["builtin", small_model(), default_model()]
    (choice,) = choices("x", config(capabilities=["anthropic"]), home(tmp_path, ANTHROPIC_BASE_URL="http://10.0.0.1"))
    assert choice.native, "a proxy in front of Anthropic's server can be declared as such"


@pytest.mark.parametrize(
    ("spec", "code"),
    [("claude-sonnet-5-5", 6), ("gpt", 2), ("plan:/no/such/file", 2), ("builtin,", 2), ("", 2), ("via:nobody", 2)],
)
def test_a_model_that_cannot_be_had_is_named(tmp_path: Path, spec: str, code: int) -> None:
    """What cannot speak is said before the run: usage errors 2, a missing key 6, always with what to do."""
    with pytest.raises(Problem) as problem:
        choose_model(spec, NONE, home(tmp_path))
    assert problem.value.code == code
    assert problem.value.hint


def test_a_comma_makes_a_chain(tmp_path: Path) -> None:
    """Models one after another, in the order given."""
    model = choose_model("via:claude,claude-haiku-5-5", NONE, home(tmp_path, ANTHROPIC_API_KEY="k"))
    assert isinstance(model, ChainModel)
    assert [part.name for part in model.models] == ["via:claude", "claude-haiku-5-5"]


def test_the_configuration_is_read_strictly(tmp_path: Path) -> None:
    """A missing file is empty, a broken one and a wrong type are named with their path."""
    path = tmp_path / "config.toml"
    assert load_config(path).values == {}
    path.write_text("[model\n")
    with pytest.raises(ConfigError, match=r"config\.toml"):
        load_config(path)
    path.write_text("[model]\nname = 3\n")
    with pytest.raises(ConfigError, match=r"model\.name must be text"):
        load_config(path).text("model", "name")
    assert config_path({"SKILLRUN_CONFIG": "/x/y.toml"}) == Path("/x/y.toml")


def test_prices_are_data() -> None:
    """Every listed model has limits and a price; a long prompt has its own; an unknown model has none."""
    for name in known_models():
        facts = model_facts(name)
        assert facts.price is not None
        assert facts.context >= 100_000
    haiku = model_facts("claude-haiku-5-5")
    assert haiku.cost(Usage(100_000, 0)) == pytest.approx(0.01)
    assert haiku.cost(Usage(1, 0, 100_000)) == pytest.approx((0.50 + 100_000 * 0.05) / 1e6)
    assert model_facts("claude-haiku-5-5-20261007").price == haiku.price
    assert model_facts("qwen3").cost(Usage(1, 1)) is None
    assert datetime.date.fromisoformat(prices_read()) >= datetime.date(2026, 11, 1)


def test_prices_and_limits_can_be_the_persons_own(tmp_path: Path) -> None:
    """A table in the configuration wins key by key, makes an unknown model one with a price, and is read strictly."""
    tables = {"claude-haiku-5-5": {"context": 50_000}, "qwen3": {"price": {"input": 1, "output": 2}, "thinking": False}}
    own = Config(Path("/c.toml"), {"models": tables})
    env = home(tmp_path, ANTHROPIC_BASE_URL="http://127.0.0.1:9")
    for name, context, cost in (("claude-haiku-5-5", 50_000, 0.01), ("qwen3", 32_768, 0.1)):
        (choice,) = choices(name, own, env)
        assert choice.facts is not None
        assert (choice.facts.context, choice.facts.cost(Usage(100_000, 0))) == (context, pytest.approx(cost))
    for wrong in ({"price": {"input": "x", "output": 1}}, {"prize": 1}, {"context": "big"}, 3):
        with pytest.raises(Problem, match=r"c\.toml"):
            choices("qwen3", Config(Path("/c.toml"), {"models": {"qwen3": wrong}}), env)


def doctor(tmp_path: Path, *args: str, **env: str) -> subprocess.CompletedProcess[str]:
    """`skillrun doctor` in a home of its own."""
    return subprocess.run(
        [sys.executable, "-m", "skillrun", "doctor", *args],
        capture_output=True,
        text=True,
        timeout=60,
        env=home(tmp_path, **env),
    )


def test_doctor_says_which_model_and_why(tmp_path: Path) -> None:
    """Without a key: the built-in engine, the reason, and how to get more; exit code 0."""
    done = doctor(tmp_path, "--json")
    assert done.returncode == 0, done.stderr
    value = json.loads(done.stdout)
    assert value["model"]["chain"][0]["name"] == "builtin"
    assert {"schema", "ok", "model", "servers", "agents", "preview", "terminal", "config"} <= set(value)
    text = doctor(tmp_path).stdout
    assert "no API key" in text
    assert "Traceback" not in text


def test_doctor_asks_the_server_whether_it_takes_the_key(tmp_path: Path) -> None:
    """--online: a key that is not accepted is exit code 6, and the key is not printed."""
    with MessagesServer([Fault("status", status=401, body=error("authentication_error", "invalid key"))] * 3) as server:
        server.refuse = (401, error("authentication_error", "invalid x-api-key"))
        done = doctor(tmp_path, "--online", "--model", "m", ANTHROPIC_BASE_URL=server.url, ANTHROPIC_API_KEY="sk-secret-1")
    assert done.returncode == 6, done.stdout
    assert "invalid x-api-key" in done.stdout
    assert "sk-secret-1" not in done.stdout + done.stderr


def test_doctor_names_a_broken_configuration(tmp_path: Path) -> None:
    """A configuration that cannot be read is exit code 2."""
    (tmp_path / "c.toml").write_text("[")
    done = doctor(tmp_path, SKILLRUN_CONFIG=str(tmp_path / "c.toml"))
    assert done.returncode == 2
    assert "c.toml" in done.stdout


def test_a_local_server_is_found() -> None:
    """A server that lists its models is found on its port; one that does not speak so is not."""
    from skillrun.llm.servers import find_servers

    with MessagesServer([say("x")]) as server:
        port = server.server.server_address[1]
        (found,) = find_servers([(port, "Ollama"), (1, "nobody")])
    assert (found.url, found.models) == (server.url, ("test",))


@pytest.mark.parametrize("end", ["", "/", "/v1", "/v1/"])
def test_a_servers_models_are_found_however_its_address_is_written(end: str) -> None:
    """The /v1 that other APIs want at the end of a base URL leads to the same list."""
    from skillrun.llm.servers import models_at

    asked: list[str] = []
    with MessagesServer() as server:
        get = server.server.RequestHandlerClass.do_GET  # type: ignore[attr-defined]

        def spy(handler: Any) -> None:
            asked.append(handler.path)
            get(handler)

        server.server.RequestHandlerClass.do_GET = spy  # type: ignore[attr-defined]
        assert models_at(server.url + end) == ("test",)
    assert asked == ["/v1/models"]
