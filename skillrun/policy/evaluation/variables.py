"""Variables that mean something to programs: search paths, code that is loaded, protections that are switched off."""

from __future__ import annotations

from skillrun.events import EffectKind
from skillrun.policy.evaluation.findings import Findings
from skillrun.policy.unknown import known
from skillrun.text.patterns import later

_LOADS = later(
    r"LD_(?:PRELOAD|LIBRARY_PATH|AUDIT)|DYLD_\w+|BASH_ENV|ENV|PROMPT_COMMAND|PS[0-4]|SHELLOPTS|BASHOPTS|BASH_FUNC_\w+.*"
    r"|GLOBIGNORE|CDPATH|PERL5(?:LIB|OPT|DB)|PYTHON(?:PATH|STARTUP|HOME|INSPECT|BREAKPOINT)|RUBY(?:OPT|LIB)"
    r"|NODE_(?:OPTIONS|PATH)|JAVA_TOOL_OPTIONS|_JAVA_OPTIONS|GIT_(?:SSH|SSH_COMMAND|EXTERNAL_DIFF|PAGER|EDITOR|ASKPASS"
    r"|PROXY_COMMAND|EXEC_PATH|CONFIG\w*|TEMPLATE_DIR|SEQUENCE_EDITOR)"
    r"|PAGER|MANPAGER|LESSOPEN|LESSCLOSE|EDITOR|VISUAL|BROWSER|SUDO_EDITOR|SUDO_ASKPASS|SSH_ASKPASS|SYSTEMD_(?:PAGER"
    r"|EDITOR)|RUSTC_WRAPPER|CC|CXX|MAKEFLAGS|GCONV_PATH|INPUTRC|TERMINFO|SHELL"
)
_INDEX = later(
    r"(?:PIP|UV)_(?:EXTRA_)?(?:DEFAULT_)?INDEX(?:_URL)?|PIP_FIND_LINKS|PIP_CONFIG_FILE|NPM_CONFIG_REGISTRY"
    r"|npm_config_registry|YARN_REGISTRY|GOPROXY|CARGO_REGISTRIES_\w+|HOMEBREW_(?:BOTTLE|API)_DOMAIN|(?:https?|HTTPS?"
    r"|ALL|all|ftp)_(?:PROXY|proxy)"
)
_DEFENCE = later(
    r"NODE_TLS_REJECT_UNAUTHORIZED|PYTHONHTTPSVERIFY|GIT_SSL_NO_VERIFY|GONOSUMCHECK|GONOSUMDB|GOSUMDB|GOINSECURE|GOFLAGS|PIP_TRUSTED_HOST"
    r"|NPM_CONFIG_STRICT_SSL|npm_config_strict_ssl|HOMEBREW_NO_INSECURE_REDIRECT|ANSIBLE_HOST_KEY_CHECKING|HISTFILE"
    r"|HISTSIZE|HISTFILESIZE|HISTCONTROL|HISTIGNORE|AUDIT\w*"
)
_TRUST = later(
    r"(?:CURL|REQUESTS|AWS)_CA_BUNDLE|SSL_CERT_(?:FILE|DIR)|NODE_EXTRA_CA_CERTS|GIT_SSL_(?:CAINFO|CAPATH)|CARGO_HTTP_CAINFO"
    r"|PIP_CERT|(?:NPM_CONFIG|npm_config)_cafile|NPM_CONFIG_CAFILE|DENO_CERT|NIX_SSL_CERT_FILE|GRPC_DEFAULT_SSL_ROOTS_FILE_PATH"
)
_SYSTEM_TRUST = later(
    r"/(?:etc/(?:ssl|pki|ca-certificates)|usr/(?:local/)?share/ca-certificates|usr/lib/ssl|usr/share/pki|etc/openssl)(?:/[\w.+-]+)*"
)
"""Where a system keeps the certificates it trusts: root's own directories, and writing there counts by itself."""
_AGENT = later(r"ANTHROPIC_\w+|CLAUDE_\w+|OPENAI_\w+|SKILLRUN_\w+|OPENCLAW_\w+|GEMINI_\w+|MCP_\w+")
_USUAL_PATH = later(
    r"(?:/usr(?:/local)?)?/s?bin|/opt/[\w.+-]+(?:/[\w.+-]+)*/s?bin|/opt/homebrew/s?bin|/usr/local/[\w.+-]+/bin"
    r"|/usr/local/lib/[\w./+-]+/bin|/snap/bin|/home/linuxbrew/\.linuxbrew/s?bin|/usr/games|/usr/local/games"
    r"|/usr/lib/[\w./+-]+/bin"
    r"|(?:~|/home/[^/:]+|/root|/Users/[^/:]+)/(?:\.?[\w.+-]+/)*s?bin|(?:~|/home/[^/:]+|/root|/Users/[^/:]+)/\.(?:yarn"
    r"|npm|bun|deno|nvm|volta|pyenv|rbenv|asdf|cargo|krew|foundry|pulumi)(?:/[\w.+-]+)*"
)


_NAMES_TOOL = later(r"SHELL|(?:MAN|GIT_|SYSTEMD_)?PAGER|EDITOR|VISUAL|CC|CXX")
_PLAIN_TOOLS = frozenset(
    (
        "",
        *[
            "cat",
            "less",
            "more",
            "vi",
            "vim",
            "nano",
            "true",
            "gcc",
            "g++",
            "clang",
            "clang++",
            "cc",
            "c++",
            "/bin/bash",
            "/bin/sh",
            "bash",
        ],
    )
)


HARMLESS_VARIABLE = later(
    r"LANG|LANGUAGE|LC_\w+|TZ|COLUMNS|LINES|NO_COLOR|CLICOLOR\w*|FORCE_COLOR|TERM|DEBIAN_FRONTEND|(?:GIT_|SYSTEMD_|MAN)?PAGER|PATH|IFS"
    r"|PYTHONUNBUFFERED|PYTHONDONTWRITEBYTECODE|CI|SYSTEMD_COLORS|APT_LISTCHANGES_FRONTEND|GIT_OPTIONAL_LOCKS|GIT_TERMINAL_PROMPT"
)
"""Variables that change words, colours, widths and waiting, and nothing else; paths and programs in them are judged above."""
_OF_THE_SHELL = frozenset({"IFS", "PROMPT_COMMAND", "BASH_ENV", "ENV", "GLOBIGNORE", "CDPATH"})
_ZONE = later(r"[A-Za-z0-9_+/-]*")


def judge_variable(findings: Findings, name: str, values: tuple[str, ...], exported: bool) -> None:
    """Setting a variable: nothing, unless programs take orders from it. `exported`: programs will see it."""
    if name == "PATH":
        for value in values:
            _search_path(findings, value)
        return
    if name in ("BASH_ALIASES", "BASH_CMDS"):
        findings.add(EffectKind.RUN_CODE, name, "other programs take the place of known names")
        return
    if not exported and not name.startswith("PS") and name not in _OF_THE_SHELL:
        return
    shown = findings.unknowns.show(values[0]) if values else ""
    if name == "TZ" and not all(_ZONE.fullmatch(value) and ".." not in value and value[:1] != "/" for value in values):
        findings.unproven(f"TZ={shown} names a file")
    if not HARMLESS_VARIABLE.fullmatch(name):
        findings.settings[name] = None
    _heeded(findings, name, values, shown)


def _heeded(findings: Findings, name: str, values: tuple[str, ...], shown: str) -> None:
    """What programs that see the variable do on its word."""
    if _TRUST.fullmatch(name):
        unchanged = (findings.place.variables.get(name),)
        if values != unchanged and not all(map(_system_trust, values)):
            findings.add(EffectKind.DEFENCE_OFF, name, f"whose certificates are trusted: {shown or 'nobody knows'}")
    elif _DEFENCE.fullmatch(name):
        findings.add(EffectKind.DEFENCE_OFF, name, shown)
    elif _LOADS.fullmatch(name):
        if not _NAMES_TOOL.fullmatch(name) or not _PLAIN_TOOLS.issuperset(values):
            findings.add(EffectKind.RUN_CODE, name, f"programs load or run what it names: {shown}")
    elif _INDEX.fullmatch(name):
        findings.add(EffectKind.UNKNOWN, name, f"where programs fetch from: {shown}")
    elif _AGENT.fullmatch(name):
        findings.add(EffectKind.AGENT_CONTROL, name, "settings of an agent")


def _system_trust(value: str) -> bool:
    """A file or directory of the system's own certificates. Empty is not: some programs then check nothing at all."""
    return known(value) and ".." not in value and _SYSTEM_TRUST.fullmatch(value.rstrip("/")) is not None


def _search_path(findings: Findings, value: str) -> None:
    for part in value.split(":"):
        if part in ("", "."):
            findings.add(EffectKind.RUN_CODE, "PATH", "programs would be taken from the current directory")
        elif not known(part):
            if all(item.label == "$PATH" for item in findings.unknowns.of(part)) and len(part) == 1:
                continue
            if all(item.kind == "machine" for item in findings.unknowns.of(part)):
                continue
            findings.add(EffectKind.RUN_CODE, "PATH", f"programs would be taken from {findings.unknowns.show(part)}")
        elif not _USUAL_PATH.fullmatch(part):
            findings.add(EffectKind.RUN_CODE, "PATH", f"programs would be taken from {part}")
