"""Which model speaks: what `--model` says, what the machine offers, and why."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from skillrun.errors import Problem
from skillrun.host.config import Config, ConfigError, load_config
from skillrun.llm.credentials import NO_KEY_WANTED, Credentials, NoCredentials, find_credentials, is_anthropic, is_local
from skillrun.ports import Model, ModelUnavailable
from skillrun.secrets import is_placeholder

if TYPE_CHECKING:
    from skillrun.llm.catalog import ModelFacts
    from skillrun.plans.plan import Plan
    from skillrun.skills.skill import Skill

WITH_PLAN = "leave --locked out, or name a plan: --model plan:FILE"
NO_KEY = "set ANTHROPIC_API_KEY, or use --model builtin, or --via claude if you have Claude Code"


@dataclass(frozen=True, slots=True)
class Choice:
    """One model of the chain: `kind` is anthropic | builtin | plan | via; `why` is for the person."""

    kind: str
    name: str
    why: str
    credentials: Credentials | None = None
    base_url: str = ""
    native: bool = False
    locked: bool = False
    """Of a plan: its versions, or nothing."""
    facts: ModelFacts | None = None
    """Of a model behind a server: its limits and prices."""


Hide = Callable[[str, str], None]
"""Told of a key that was found, and what it is, so that nothing may show it (see `secrets.Vault.hide`)."""


def choose_model(
    spec: str = "auto", config: Config | None = None, environ: Mapping[str, str] | None = None, hide: Hide | None = None
) -> Model:
    """The model for `auto | builtin | claude-... | plan:FILE | via:AGENT`; a comma makes a chain.

    Raises Problem: exit code 2 for a word that means nothing, 6 when there is no key for the model that was asked for.
    """
    first, *others = found = choices(spec, config, environ)
    for choice in found:
        if hide is not None and choice.credentials is not None:
            for key in (choice.credentials.api_key, choice.credentials.auth_token):
                if key and key != NO_KEY_WANTED and not (is_local(choice.base_url) and is_placeholder(key)):
                    hide(key, "model key")
    if not others:
        return build(first)
    from skillrun.models.chain import ChainModel, Later

    behind: list[Model] = [Later(partial(build, choice)) if choice.kind == "anthropic" else build(choice) for choice in others]
    return ChainModel([build(first), *behind], [each.name for each in found if each.facts and each.facts.price])


def speaker(
    spec: str | Model,
    verb: str,
    skill: Skill,
    facts: Mapping[str, Any],
    inputs: Mapping[str, str],
    locked: bool = False,
    hide: Hide | None = None,
) -> Model:
    """Who decides this run: what was asked for; with `auto`, a plan proven for these bytes on such a machine before it.

    Whoever stands behind a plan is chosen only if the plan cannot go on, so that a replay needs no key and no server.
    `locked`: a plan's versions and nothing else, so nobody stands behind it. Raises Problem as `choose_model` does.
    """
    if verb == "verify":  # only the checks run
        return choose_model("builtin")
    if not isinstance(spec, str):
        return spec
    if spec == "auto" and verb == "install":
        from skillrun.plans.store import known_plan

        plan, rejected = known_plan(skill, facts, inputs)
        refused = _refused(plan) if plan is not None else ""
        if plan is not None and not refused:
            from skillrun.models.chain import ChainModel, Later
            from skillrun.models.replay import PlanModel

            replay = PlanModel(plan, locked=locked)
            return replay if locked else ChainModel([replay, Later(partial(_chosen_late, hide))])
        if locked:
            why = refused or "; ".join(f"{found.file.name}: {found.reason}" for found in rejected)
            raise Problem(f"there is no plan for {skill.name} on this machine{f' ({why})' if why else ''}", WITH_PLAN)
    elif locked and not spec.startswith("plan:"):
        raise Problem("--locked installs a plan's versions, and --model names another model", WITH_PLAN)
    elif locked:
        first, *others = choices(spec)
        if others:
            raise Problem("--locked installs a plan's versions and nothing else, and --model names models behind it", WITH_PLAN)
        return build(replace(first, locked=True))
    return choose_model(spec, hide=hide)


def _refused(plan: Plan) -> str:
    """Why a plan is not for this account, where it needs sudo and no password of this account's would help; else empty."""
    if not any(condition.about == "privilege" and condition.needs == "sudo" for condition in plan.conditions):
        return ""
    from skillrun.overlay.process.probe import refusal_of_sudo

    return refusal_of_sudo()


def _chosen_late(hide: Hide | None = None) -> Model:
    try:
        return choose_model(hide=hide)
    except Problem as problem:
        raise ModelUnavailable(problem.message, problem.hint) from problem


def choices(spec: str = "auto", config: Config | None = None, environ: Mapping[str, str] | None = None) -> list[Choice]:
    """What `choose_model` would build, with the reasons. Raises Problem as it does."""
    env = os.environ if environ is None else environ
    try:
        config = config or load_config()
        words = [word.strip() for word in spec.split(",")]
        if not all(words):
            raise Problem(f"--model {spec!r} names no model", "for example --model auto")
        return [choice for word in words for choice in _choices(word, config, env)]
    except ConfigError as error:
        raise Problem(str(error), "correct the configuration file") from None
    except NoCredentials as error:
        raise Problem(str(error), error.hint, code=6) from None


def _choices(word: str, config: Config, env: Mapping[str, str]) -> list[Choice]:
    """What one word of a chain means. Of `auto`: the rules, and behind them whoever can be had."""
    if word == "builtin":
        return [Choice("builtin", "builtin", "asked for")]
    kind, colon, rest = word.partition(":")
    if kind == "plan" and colon:
        if not Path(rest).expanduser().is_file():
            raise Problem(f"there is no plan file {rest}", "`skillrun plan RUN` writes one")
        _plan(rest)
        return [Choice("plan", rest, "asked for")]
    if kind == "via" and colon:
        return [Choice("via", rest, "asked for")]
    url = env.get("ANTHROPIC_BASE_URL") or config.text("model", "base_url")
    own = is_anthropic(url)
    credentials = find_credentials(config, url, env)
    native = own or "anthropic" in config.texts("model", "capabilities")

    def served(name: str, why: str) -> Choice:
        return Choice("anthropic", name, why, credentials, url, native, facts=_facts(name, config))

    if word == "auto" and credentials is None:
        return [Choice("builtin", "builtin", "no API key and no base URL: rules, no network")]
    if word == "auto" and credentials is not None:
        behind = [served(*each) for each in _auto(config, env, url, credentials)]
        return [Choice("builtin", "builtin", "what rules can do costs nothing"), *behind]
    if own and not word.startswith("claude-"):
        raise Problem(f"unknown model {word!r}", "auto, builtin, claude-..., plan:FILE, via:claude; or set ANTHROPIC_BASE_URL")
    if credentials is None:
        raise Problem(f"there is no API key for {word}", NO_KEY, code=6)
    return [served(word, f"asked for; key from {credentials.source}")]


def _facts(name: str, config: Config) -> ModelFacts:
    """Limits and prices of a model, as the person's configuration has them before the table. Raises Problem."""
    from skillrun.llm.catalog import model_facts

    own = config.values.get("models", {})
    if not isinstance(own, Mapping) or not all(isinstance(table, Mapping) for table in own.values()):
        raise Problem(f"{config.path}: models must hold a table for each name", f'for example [models."{name}"]')
    try:
        return model_facts(name, own)
    except ValueError as error:
        raise Problem(f"{config.path}: {error}", "docs/models.md shows such a table") from None


def _plan(name: str) -> tuple[Plan, str]:
    """The plan in a file, and the fingerprint it bears; the person may have edited it. Raises Problem."""
    from skillrun.plans.file import read_plan
    from skillrun.plans.plan import PlanError

    try:
        return read_plan(Path(name).expanduser())
    except PlanError as error:
        raise Problem(str(error), "`skillrun plan RUN -o FILE` writes it anew") from error


def _auto(config: Config, env: Mapping[str, str], url: str, credentials: Credentials) -> list[tuple[str, str]]:
    """The models `auto` means behind the rules, with the reasons: configured, else small and larger, else what is offered."""
    from skillrun.llm.catalog import default_model, small_model

    small, usual, key = small_model(), default_model(), f"key from {credentials.source}"
    if name := config.text("model", "name"):
        return [(name, f"model.name in {config.path}; {key}")]
    if name := env.get("ANTHROPIC_MODEL", ""):
        return [(name, f"ANTHROPIC_MODEL; {key}")]
    if is_anthropic(url):
        return [(small, f"where rules are not enough; {key}"), (usual, "where a small model is stuck")]
    from skillrun.llm.servers import models_at

    offered = models_at(url, credentials.api_key or credentials.auth_token or "")
    if offered is None:
        raise Problem(f"no model server answers at {url}", "start it, or unset ANTHROPIC_BASE_URL", code=6)
    reasons = {small: "where rules are not enough", usual: "where a small model is stuck"}
    if found := [(name, f"{why}, at {url}") for name, why in reasons.items() if name in offered]:
        return found
    if not offered:
        return [(usual, f"the default, at {url}")]
    return [(offered[0], f"the first of {len(offered)} that {url} offers; --model names another")]


def build(choice: Choice) -> Model:
    """The model of a choice. A model that needs the Anthropic client starts importing it in the background."""
    if choice.kind == "anthropic":
        from skillrun.models.anthropic import AnthropicModel, preload

        preload()
        return AnthropicModel(choice.name, choice.credentials, choice.base_url, choice.native, facts=choice.facts)
    if choice.kind == "plan":
        from skillrun.models.replay import PlanModel
        from skillrun.plans.plan import fingerprint
        from skillrun.plans.store import EDITED

        plan, given = _plan(choice.name)
        return PlanModel(plan, named=True, locked=choice.locked, doubt="" if given == fingerprint(plan) else EDITED)
    if choice.kind == "via":
        from skillrun.models.via import AGENTS, ViaModel

        if choice.name not in AGENTS:
            raise Problem(f"--via does not know {choice.name!r}", f"one of {', '.join(AGENTS)}")
        return ViaModel(choice.name)
    from skillrun.models.builtin import BuiltinModel

    return BuiltinModel()
