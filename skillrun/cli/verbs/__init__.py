"""The verbs: each a module that is imported when it is asked for."""

from __future__ import annotations

VERBS: dict[str, tuple[str, str]] = {
    "install": ("skillrun.cli.verbs.install", "Carry a skill out on this machine until its checks pass."),
    "verify": ("skillrun.cli.verbs.install", "Run only a skill's checks."),
    "uninstall": ("skillrun.cli.verbs.install", "Carry out a skill's uninstall part."),
    "fleet": ("skillrun.cli.machines.fleet", "A skill on many machines."),
    "show": ("skillrun.cli.verbs.skills", "Read a skill as the model will read it."),
    "list": ("skillrun.cli.verbs.skills", "What is available."),
    "add": ("skillrun.cli.verbs.lock", "Copy a skill into your library, locked to its bytes."),
    "update": ("skillrun.cli.verbs.lock", "Take the newest version of an added skill, difference first."),
    "pin": ("skillrun.cli.verbs.lock", "Keep an added skill at its version, with the reason."),
    "mcp": ("skillrun.cli.verbs.mcp", "Serve agents that install through skillrun."),
    "approve": ("skillrun.cli.verbs.mcp", "A person's word to a run that an agent began."),
    "why": ("skillrun.cli.verbs.lock", "Where an added skill is from, and why it is at this version."),
    "sign": ("skillrun.cli.verbs.lock", "Sign a skill with Sigstore, or say who signed it."),
    "remove": ("skillrun.cli.verbs.skills", "Take a skill out of your library."),
    "init": ("skillrun.cli.verbs.skills", "Scaffold a skill."),
    "lint": ("skillrun.cli.verbs.lint", "Complaints about skills, with line numbers."),
    "prompt": ("skillrun.cli.verbs.prompt", "The text to paste into any agent."),
    "facts": ("skillrun.cli.verbs.facts", "What skillrun knows of this machine."),
    "explain": ("skillrun.cli.verbs.explain", "Effects of a command, what would be decided, by which rule."),
    "rules": ("skillrun.cli.verbs.explain", "Remembered approvals: list and revoke."),
    "installed": ("skillrun.cli.verbs.installed", "What skillrun installed here."),
    "outdated": ("skillrun.cli.verbs.installed", "What of it is newer now."),
    "upgrade": ("skillrun.cli.verbs.installed", "Bring it to its newest version."),
    "purge": ("skillrun.cli.verbs.purge", "Remove skillrun's caches and history."),
    "runs": ("skillrun.cli.verbs.runs", "History."),
    "report": ("skillrun.cli.verbs.report", "One run as text, JSON, HTML, JUnit, Markdown, cast."),
    "resume": ("skillrun.cli.verbs.install", "Go on after a crash."),
    "undo": ("skillrun.cli.verbs.undo", "Take back what a run changed."),
    "plan": ("skillrun.cli.verbs.plan", "The proven commands of a verified run."),
    "test": ("skillrun.cli.verbs.test", "Run a skill in throw-away machines with faults."),
    "doctor": ("skillrun.cli.verbs.doctor", "Can this machine do its part?"),
}
"""verb -> (module that defines a click command `<verb>_command`, one line of help)."""
