"""The key of a model: where it comes from, found before a run starts rather than in its middle.

Order: the environment, the Anthropic client's own profile, `api_key_command` of the configuration, the keyring.
Nothing here is imported from the client, so that asking does not cost its start-up.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from skillrun.host.config import Config
from skillrun.secrets import in_keyring

KEYRING_USER = "anthropic-api-key"
COMMAND_SECONDS = 20
NO_KEY_WANTED = "none"
"""What another server than Anthropic's is sent as a key when there is none: the client must send some word."""


class NoCredentials(Exception):
    """No usable key. `hint` says what the person can do."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


@dataclass(frozen=True, slots=True)
class Credentials:
    """A key and where it came from. Both empty: the client finds its own profile. Never printed."""

    source: str
    api_key: str | None = field(default=None, repr=False)
    auth_token: str | None = field(default=None, repr=False)


def is_anthropic(base_url: str) -> bool:
    """Is this Anthropic's own server? Only there are cache, thinking and effort fields sent."""
    host = (urlsplit(base_url).hostname or "") if base_url else "api.anthropic.com"
    return host == "anthropic.com" or host.endswith(".anthropic.com")


def is_local(base_url: str) -> bool:
    """Is this a server on this very machine? It is never asked through a proxy."""
    host = (urlsplit(base_url).hostname or "") if base_url else ""
    return host in ("localhost", "::1") or host.startswith("127.")


def api_root(base_url: str) -> str:
    """A base URL as the client wants it: without the `/v1` that other APIs want there, and without a slash at its end."""
    return base_url.strip().rstrip("/").removesuffix("/messages").removesuffix("/v1")


def find_credentials(config: Config, base_url: str = "", environ: Mapping[str, str] | None = None) -> Credentials | None:
    """The first key found, None when there is none. Raises NoCredentials when `api_key_command` fails.

    A server that is not Anthropic's never gets a key from the profile or the keyring, and needs none.
    """
    env = os.environ if environ is None else environ
    if key := env.get("ANTHROPIC_API_KEY"):
        return Credentials("ANTHROPIC_API_KEY", api_key=key)
    if token := env.get("ANTHROPIC_AUTH_TOKEN"):
        return Credentials("ANTHROPIC_AUTH_TOKEN", auth_token=token)
    own = is_anthropic(base_url)
    if own and (profile := profile_source(env)):
        return Credentials(profile)
    if command := config.text("model", "api_key_command"):
        return Credentials(f"api_key_command in {config.path}", api_key=_from_command(command))
    if own and (key := in_keyring(KEYRING_USER)):
        return Credentials("keyring", api_key=key)
    return None if own else Credentials("no key (not Anthropic's server)", api_key=NO_KEY_WANTED)


def profile_source(environ: Mapping[str, str]) -> str:
    """What the Anthropic client would find by itself: a named, federated or active profile; empty when nothing."""
    if name := environ.get("ANTHROPIC_PROFILE"):
        return f"ANTHROPIC_PROFILE={name}"
    identity = environ.get("ANTHROPIC_IDENTITY_TOKEN") or environ.get("ANTHROPIC_IDENTITY_TOKEN_FILE")
    if identity and environ.get("ANTHROPIC_FEDERATION_RULE_ID") and environ.get("ANTHROPIC_ORGANIZATION_ID"):
        return "workload identity federation"
    home = environ.get("ANTHROPIC_CONFIG_DIR") or f"{environ.get('HOME', '~')}/.config/anthropic"
    folder = Path(home).expanduser()
    try:
        active = (folder / "active_config").read_text(encoding="utf-8").strip() or "default"
    except (OSError, UnicodeDecodeError):
        active = "default"
    return f"profile {active}" if "/" not in active and (folder / "configs" / f"{active}.json").is_file() else ""


def _from_command(command: str) -> str:
    """Run the user's own command and take its first line."""
    hint = "run it in a terminal; it must print the key and nothing else"
    try:
        done = subprocess.run(["/bin/sh", "-c", command], capture_output=True, text=True, timeout=COMMAND_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise NoCredentials(f"api_key_command did not answer within {COMMAND_SECONDS} s", hint) from None
    except (OSError, UnicodeDecodeError) as error:
        raise NoCredentials(f"api_key_command could not be run: {error}", hint) from None
    key = done.stdout.strip().splitlines()[0].strip() if done.stdout.strip() else ""
    if done.returncode or not key:
        said = done.stderr.strip().splitlines()[-1][:200] if done.stderr.strip() else f"exit code {done.returncode}"
        raise NoCredentials(f"api_key_command gave no key: {said}", hint)
    return key
