"""The user's own configuration: TOML in the platform's configuration directory. A project's files never add to it."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from skillrun.host.ownership import not_ours


class ConfigError(Exception):
    """The configuration cannot be read: what is wrong, in which file."""


@dataclass(frozen=True, slots=True)
class Config:
    """The tables of the file as they are; `path` is where it was looked for."""

    path: Path
    values: Mapping[str, Any] = field(default_factory=dict)

    def text(self, table: str, key: str, default: str = "") -> str:
        """A string. Raises ConfigError when something else stands there."""
        value = self._value(table, key, default)
        if not isinstance(value, str):
            raise ConfigError(f"{self.path}: {table}.{key} must be text")
        return value

    def texts(self, table: str, key: str) -> tuple[str, ...]:
        """A list of strings. Raises ConfigError when something else stands there."""
        value = self._value(table, key, ())
        if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
            raise ConfigError(f"{self.path}: {table}.{key} must be a list of texts")
        return tuple(value)

    def _value(self, table: str, key: str, default: object) -> Any:
        section = self.values.get(table, {})
        if not isinstance(section, Mapping):
            raise ConfigError(f"{self.path}: {table} must be a table")
        return section.get(key, default)


def config_path(environ: Mapping[str, str] | None = None) -> Path:
    """Where the configuration lies: SKILLRUN_CONFIG, else `config.toml` in the platform's directory."""
    named = (os.environ if environ is None else environ).get("SKILLRUN_CONFIG")
    if named:
        return Path(named).expanduser()
    from platformdirs import user_config_path

    return user_config_path("skillrun", appauthor=False) / "config.toml"


def load_config(path: Path | None = None) -> Config:
    """Read the configuration; a missing file is an empty one. Raises ConfigError."""
    path = path or config_path()
    try:
        text = path.read_text(encoding="utf-8")
        why = not_ours(path)
    except FileNotFoundError:
        return Config(path)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {error}") from None
    if why:
        raise ConfigError(f"{path} is not obeyed, since it is not yours alone: {why}")
    try:
        return Config(path, tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: {error}") from None
