"""The verbs, and where each is found: a module of this package, imported when its verb is asked for."""

from __future__ import annotations

VERBS: dict[str, tuple[str, str]] = {
    "install": ("skillrun.cli.install", "Carry a skill out on this machine until its checks pass."),
    "verify": ("skillrun.cli.install", "Run only a skill's checks."),
    "uninstall": ("skillrun.cli.install", "Carry out a skill's uninstall part."),
    "show": ("skillrun.cli.skills", "Read a skill as the model will read it."),
    "list": ("skillrun.cli.skills", "What is available."),
    "add": ("skillrun.cli.lock", "Copy a skill into your library, locked to its bytes."),
    "update": ("skillrun.cli.lock", "Take the newest version of an added skill, difference first."),
    "pin": ("skillrun.cli.lock", "Keep an added skill at its version, with the reason."),
    "why": ("skillrun.cli.lock", "Where an added skill is from, and why it is at this version."),
    "remove": ("skillrun.cli.skills", "Take a skill out of your library."),
    "init": ("skillrun.cli.skills", "Scaffold a skill."),
    "lint": ("skillrun.cli.lint", "Complaints about skills, with line numbers."),
    "prompt": ("skillrun.cli.prompt", "The text to paste into any agent."),
    "facts": ("skillrun.cli.facts", "What skillrun knows of this machine."),
    "explain": ("skillrun.cli.explain", "Effects of a command, what would be decided, by which rule."),
    "rules": ("skillrun.cli.explain", "Remembered approvals: list and revoke."),
    "runs": ("skillrun.cli.runs", "History."),
    "report": ("skillrun.cli.report", "One run as text, JSON, HTML, JUnit, Markdown, cast."),
    "resume": ("skillrun.cli.install", "Go on after a crash."),
    "undo": ("skillrun.cli.undo", "Take back what a run changed."),
    "plan": ("skillrun.cli.plan", "The proven commands of a verified run."),
    "test": ("skillrun.cli.test", "Run a skill in throw-away machines with faults."),
    "doctor": ("skillrun.cli.doctor", "Can this machine do its part?"),
}
"""verb -> (module that defines a click command `<verb>_command`, one line of help)."""
