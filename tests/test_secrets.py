"""Secrets by handle, and what keeps them out of sight."""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skillrun.events import Result, State
from skillrun.ports import Command, result_of
from skillrun.pty.secret_handles import MisplacedSecret, resolve
from skillrun.secrets import _KEYS, KEY_PREFIXES, UnknownSecret, Vault, clean_environment, looks_secret, stored
from skillrun.targets.local import LocalTarget
from tests.contracts.target import played

VALUE = "hunter2/correct horse+battery"


@pytest.fixture
def vault() -> Vault:
    """A vault with one secret."""
    vault = Vault()
    vault.add("TOKEN", VALUE)
    return vault


@pytest.fixture
def target(tmp_path: Path, vault: Vault) -> Iterator[LocalTarget]:
    """A session that knows the secret."""
    target = LocalTarget(tmp_path / "outputs", cwd=str(tmp_path), vault=vault)
    yield target
    target.close()


# --- masking ------------------------------------------------------------------------------------


def test_a_value_is_masked_in_every_common_form(vault: Vault) -> None:
    """As it is, percent-encoded, and in base64 at any alignment."""
    for text in (
        VALUE,
        quote(VALUE, safe=""),
        *(base64.b64encode(b"x" * n + VALUE.encode() + b"yz").decode() for n in range(3)),
    ):
        masked = vault.mask(f"before {text} after")
        assert "[secret:TOKEN]" in masked
        assert masked.startswith("before ")
        assert masked.endswith(" after")


@pytest.mark.parametrize(
    "key", ["sk-ant-" + "api03-" + "Ab3" * 9, "ghp_" + "a1" * 18, "AKIAIOSFODNN7EXAMPLE", "npm_" + "Zz9" * 12]
)
def test_what_looks_like_a_key_is_masked(key: str) -> None:
    """Nobody declared it, and still it is not shown."""
    assert key not in Vault().mask(f"export K={key};")


_TEXT_WITH_KEYS = st.lists(
    st.sampled_from(
        [*KEY_PREFIXES, "a1b2c3d4e5f6", "abcdefghijkl", "Configuration", "x-1.", "_", " ", "\n", "=", "9", "s" * 70]
    ),
    max_size=40,
).map("".join)


@given(_TEXT_WITH_KEYS)
def test_no_key_is_missed_for_being_looked_for_in_few_places(text: str) -> None:
    """Text is masked as if every place in it had been tried, whatever stands around the keys and however many there are."""
    data = text.encode()
    assert Vault().mask_bytes(data) == (_KEYS.sub(b"[secret:key]", data) if len(data) >= 15 else data)


def test_ordinary_text_is_left_alone() -> None:
    """Words, hashes, versions and paths are not secrets."""
    text = (
        "sha256:9f86d081884c7d659a2feaa0c55ad015 task-runner sk-learn npm_config_yes=true SG. AKIA ghp_ /usr/lib/node_modules"
    )
    assert Vault().mask(text) == text


def test_short_values_are_not_masked() -> None:
    """Hiding every `yes` would hide the output and protect nothing."""
    vault = Vault()
    vault.add("ANSWER", "yes")
    assert vault.mask("yes, yes") == "yes, yes"


@settings(deadline=None)
@given(st.lists(st.integers(1, 12), max_size=30), st.text(max_size=20), st.text(max_size=20))
def test_a_secret_split_over_reads_is_masked(sizes: list[int], before: str, after: str) -> None:
    """Wherever the pieces of a stream end, the value does not come through, and nothing else is lost."""
    vault = Vault()
    vault.add("TOKEN", VALUE)
    data = f"{before}|{VALUE}|{after}".encode("utf-8", "surrogatepass")
    masker, out = vault.masker(), b""
    for size in sizes:
        piece, data = data[:size], data[size:]
        out += masker.feed(piece)
        assert VALUE.encode() not in out
    out += masker.feed(data) + masker.flush()
    assert out.decode("utf-8", "surrogatepass") == f"{before}|[secret:TOKEN]|{after}"


@pytest.mark.parametrize("at", [1, 31, 32, 33, 500, 1700, 3099])
def test_a_long_secret_is_masked_wherever_it_is_split(at: int) -> None:
    """A private key of many lines, whose beginning is said twice, does not come through in two halves."""
    lines = [f"{number:03}{'kEy/' * 15}" for number in range(49)]
    key = "-----BEGIN KEY-----\n" + "\n".join(lines) + "\n"
    vault = Vault()
    vault.add("KEY", key)
    data = f"before {key[:40]}|{key}after".encode()
    cut = len("before ") + 41 + at
    masker = vault.masker()
    first = masker.feed(data[:cut])
    assert lines[0].encode() not in first
    out = first + masker.feed(data[cut:]) + masker.flush()
    assert out == f"before {key[:40]}|[secret:KEY]after".encode()


def test_a_value_given_anew_hides_the_old_one_too(vault: Vault) -> None:
    """A mistyped secret is still somebody's secret."""
    vault.add("TOKEN", "second-value")
    assert vault.value("TOKEN") == "second-value"
    assert VALUE not in vault.mask(f"{VALUE} second-value")
    assert "second-value" not in repr(vault)


def test_an_unknown_secret_is_named() -> None:
    """The error says which."""
    with pytest.raises(UnknownSecret, match="NOPE"):
        Vault().value("NOPE")


# --- the environment ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    ["ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL", "OPENAI_API_KEY", "GITHUB_TOKEN", "AWS_SECRET_ACCESS_KEY", "DB_PASSWORD",
     "npm_token", "GH_PAT", "API_KEY", "TOKEN", "MY_CREDENTIALS"],
)  # fmt: skip
def test_keys_do_not_reach_a_command(name: str) -> None:
    """Unless they were granted by name."""
    assert looks_secret(name)
    assert name not in clean_environment({name: "x"})
    assert clean_environment({name: "x"}, [name]) == {name: "x"}


@pytest.mark.parametrize(
    "name",
    ["PATH", "HOME", "SSH_AUTH_SOCK", "KEYBOARD", "MONKEY", "XDG_SESSION_ID", "GPG_KEY", "AUTHOR", "TOKENIZERS_PARALLELISM"],
)
def test_ordinary_variables_do(name: str) -> None:
    """A name that only resembles one is left alone."""
    assert clean_environment({name: "x"}) == {name: "x"}


def test_a_command_sees_no_key(tmp_path: Path) -> None:
    """The real environment of a real command, granted and not granted."""
    env = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(tmp_path),
        "ANTHROPIC_API_KEY": "aaaa",
        "MY_TOKEN": "bbbb",
        "GIVEN_TOKEN": "cccc",
    }
    target = LocalTarget(tmp_path / "outputs", env=env, cwd=str(tmp_path), granted=["GIVEN_TOKEN"])
    text = result_of(target.run(Command("env"))).output
    login = result_of(target.run(Command("env", login=True))).output
    target.close()
    assert "GIVEN_TOKEN=cccc" in text
    assert not {"aaaa", "bbbb"} & set(text.replace("=", "\n").split("\n"))
    assert not {"aaaa", "bbbb", "cccc"} & set(login.replace("=", "\n").split("\n"))


def test_a_stored_secret_is_found_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the environment first, then in the keyring; nowhere is None. Nobody is asked for one where there is no session."""
    keyring = pytest.importorskip("keyring")
    from keyring.backend import KeyringBackend

    class InMemory(KeyringBackend):
        priority = 1  # type: ignore[assignment]

        def get_password(self, service: str, username: str) -> str | None:
            return {("skillrun", "KEPT_TOKEN"): "from the keyring"}.get((service, username))

        def set_password(self, service: str, username: str, password: str) -> None:
            raise NotImplementedError

    before = keyring.get_keyring()
    keyring.set_keyring(InMemory())
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "named.by.somebody")
    try:
        assert stored("KEPT_TOKEN", {}) == "from the keyring"
        assert stored("KEPT_TOKEN", {"KEPT_TOKEN": "from the environment"}) == "from the environment"
        assert stored("OTHER_TOKEN", {}) is None
        for name in ("PYTHON_KEYRING_BACKEND", "DBUS_SESSION_BUS_ADDRESS", "XDG_RUNTIME_DIR"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("XDG_CONFIG_HOME", "/nowhere")
        assert (stored("KEPT_TOKEN", {}) is None) == (sys.platform == "linux")
    finally:
        keyring.set_keyring(before)


# --- handles ------------------------------------------------------------------------------------

GOOD = {
    "A={{secret:TOKEN}}; echo ${#A}": len(VALUE),
    "export A=\"<{{secret:TOKEN}}>\"; sh -c 'echo ${#A}'": len(VALUE) + 2,
    "A={{secret:TOKEN}} sh -c 'echo ${#A}'": len(VALUE),
    "printf '%s' {{secret:TOKEN}} | wc -c": len(VALUE),
    "echo -n 'a {{secret:TOKEN}} b' | wc -c": len(VALUE) + 4,
    "wc -c <<EOF\n{{secret:TOKEN}}\nEOF": len(VALUE) + 1,
    "wc -c <<< {{secret:TOKEN}}": len(VALUE) + 1,
    "[[ -n {{secret:TOKEN}} ]] && echo 1": 1,
    "x=$(echo {{secret:TOKEN}}); echo ${#x}": len(VALUE),
}


@pytest.mark.parametrize("text", GOOD)
def test_a_handle_is_the_value(target: LocalTarget, text: str) -> None:
    """In assignments, here-documents and arguments of builtins, whatever the quotes."""
    result = result_of(target.run(Command(text)))
    assert result.output.split() == [str(GOOD[text])]


BAD = [
    "curl -H 'Authorization: Bearer {{secret:TOKEN}}' https://example.invalid",
    'curl -H "X: {{secret:TOKEN}}" https://example.invalid',
    "env A={{secret:TOKEN}} sh -c :",
    "/bin/echo {{secret:TOKEN}}",
    "sh -c 'echo {{secret:TOKEN}}'",
    "echo $(cat {{secret:TOKEN}})",
    "cat > {{secret:TOKEN}}",
    "cat <<'EOF'\n{{secret:TOKEN}}\nEOF",
    'echo "{{secret:TOKEN}}',
]


@pytest.mark.parametrize("text", BAD)
def test_a_handle_never_becomes_an_argument(target: LocalTarget, text: str) -> None:
    """Arguments are there for everybody to read: the command does not start and the result says what to do instead."""
    with pytest.raises(MisplacedSecret, match="standard input"):
        resolve(text)
    result = result_of(target.run(Command(text)))
    assert result.state is State.ERROR
    assert "{{secret:TOKEN}}" in result.output
    assert result_of(target.run(Command("echo alive"))).output == "alive"


def test_an_unknown_handle_is_an_error(target: LocalTarget) -> None:
    """The command does not start."""
    result = result_of(target.run(Command("A={{secret:OTHER}} env")))
    assert (result.state, "OTHER" in result.output) == (State.ERROR, True)


def test_the_value_is_seen_nowhere(target: LocalTarget, tmp_path: Path) -> None:
    """Not in argv of any process, nor in events, results, exports or files of the run, though the command prints it."""
    text = "export LEAK={{secret:TOKEN}}; echo $LEAK; echo $LEAK | base64; ps axww -o args; tr '\\0' ' ' < /proc/$$/cmdline"
    events, result = played(target.run(Command(text)))
    _, job = played(target.run(Command("A={{secret:TOKEN}}; echo $A; sleep 0.2; ps axww -o args", background=True)))
    _, login = played(target.run(Command("echo {{secret:TOKEN}}; ps axww -o args", login=True)))
    played(target.run(Command("sleep 0.6")))
    seen: list[Result] = [result, login, job]
    assert all("[secret:TOKEN]" in one.output for one in seen)
    assert result.exports == {"LEAK": "[secret:TOKEN]"}
    assert VALUE not in repr(events) + repr(seen)
    target.close()
    files = [path.read_bytes() for path in (tmp_path / "outputs").rglob("*")]
    assert files
    assert all(VALUE.encode() not in data and base64.b64encode(VALUE.encode())[:20] not in data for data in files)
    json.dumps(result.output)


def test_a_secret_can_be_typed(target: LocalTarget) -> None:
    """A handle in an answer is its value, typed and masked."""
    assert result_of(target.run(Command("read -s -p 'Token: ' t; echo; echo ${#t} $t"))).secret
    done = result_of(target.answer("{{secret:TOKEN}}\n"))
    assert done.output.endswith(f"{len(VALUE)} [secret:TOKEN]")
