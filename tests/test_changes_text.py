"""What a person reads before they say commit: named where it matters, counted where it does not, never more than a screen."""

from __future__ import annotations

from typing import Any

import pytest

from skillrun.record.changes_text import change_lines
from skillrun.record.wording import changes_line

DIFF = "--- a\n+++ b\n@@ -1 +1,2 @@\n x\n+export A=1"

REDIS: dict[str, Any] = {
    "packages": [
        {"manager": "dpkg", "name": "redis-server", "change": "installed", "version": "5:7.0.15", "old": "", "place": ""},
        {"manager": "dpkg", "name": "libc6", "change": "upgraded", "version": "2.37", "old": "2.36", "place": ""},
        {"manager": "pip", "name": "tldr", "change": "removed", "version": "", "old": "3.1", "place": "~/venv"},
    ],
    "commands": ["redis-server"],
    "accounts": [{"kind": "user", "name": "redis", "change": "added", "detail": "no login"}],
    "services": [{"name": "redis-server.service", "change": "enabled"}],
    "deferred": ["systemctl start redis-server"],
    "alerts": [
        {"level": "warning", "text": "set-user-ID root", "path": "/usr/bin/odd"},
        {"level": "info", "text": "runs by itself (service), added", "path": "/lib/systemd/system/redis-server.service"},
    ],
    "files": [{"path": "/home/dev/.bashrc", "change": "changed", "kind": "file", "bytes": 40, "detail": "", "diff": DIFF}],
    "groups": [{"name": "package redis-server", "added": 40, "bytes": 2e6, "examples": ["/usr/bin/redis-server"]}],
    "kept_out": [{"path": "/etc/motd", "reason": "left by --except"}],
}  # fmt: skip

SAID = [
    ("  ! set-user-ID root: /usr/bin/odd", "alert"),
    ("  + package redis-server 5:7.0.15 (dpkg)", "add"),
    ("  ~ package libc6 2.36 to 2.37 (dpkg)", ""),
    ("  - package tldr 3.1 (pip) in ~/venv", "del"),
    ("  + command redis-server", "add"),
    ("  + user redis (no login)", "add"),
    ("  + service redis-server.service (enabled)", "add"),
    ("  > after the commit: systemctl start redis-server", "strong"),
    ("  ~ /home/dev/.bashrc (40 B)", ""),
    ("      +export A=1", "add"),
    ("  · package redis-server: 40 added, 2.0 MB", "dim"),
    ("  not committed: /etc/motd: left by --except", "alert"),
]


@pytest.mark.parametrize(("text", "tone"), SAID)
def test_every_kind_of_change_is_said(text: str, tone: str) -> None:
    """Packages, commands, accounts, services, what is deferred, files with their differences, the rest counted."""
    assert (text, tone) in change_lines(REDIS)


def test_what_is_harmless_and_expected_is_left_to_the_details() -> None:
    """A remark of level info, the diff's file names and the examples of a group: only when all is asked for."""
    brief = "\n".join(line.text for line in change_lines(REDIS))
    whole = "\n".join(line.text for line in change_lines(REDIS, whole=True))
    for text in ("runs by itself", "/usr/bin/redis-server\n"):
        assert text not in brief
        assert text in whole + "\n"
    assert "+++" not in whole


def test_a_thousand_of_everything_still_fits_a_screen() -> None:
    """Long lists are cut with the number of what is left; with all asked for, everything is there."""
    rows = [{"name": f"p{number}", "change": "added"} for number in range(1000)]
    long = "\n".join(f"+line {number}" for number in range(1000))
    files = [{"path": f"/f{number}", "change": "added", "diff": long} for number in range(300)]
    data = {"packages": rows, "accounts": rows, "services": rows, "commands": [row["name"] for row in rows], "files": files}
    brief = change_lines({**data, "files": files[:1], "files_omitted": 700})
    assert len(brief) < 80
    texts = [line.text for line in brief]
    for text in (
        "    and 988 more packages",
        "    and 988 more services",
        "      and 990 more lines",
        "    and 700 more files worth a look",
    ):
        assert text in texts
    assert len(change_lines(data, whole=True)) == 4 * 1000 + 300 * 1001


@pytest.mark.parametrize(
    "data", [{}, {"packages": None}, {"files": "x"}, {"alerts": ["text"], "groups": [3]}, {"packages": [{}]}]
)
def test_data_of_another_time_never_stops_a_surface(data: dict[str, Any]) -> None:
    """A journal of another version, or a damaged one, is shown as far as it can be."""
    assert all(isinstance(line.text, str) for line in change_lines(data) + change_lines(data, whole=True))


def test_no_text_of_a_run_can_write_to_the_terminal() -> None:
    """Control characters in names, differences and reasons come out as what they are."""
    bad = "a\x1b[2J\nb"
    data = {
        "packages": [{"name": bad, "version": bad, "manager": bad}],
        "files": [{"path": bad, "diff": f"+{bad}", "detail": bad}],
        "alerts": [{"text": bad, "path": bad, "level": "error"}],
        "deferred": [bad],
        "groups": [{"name": bad}],
    }
    for line in change_lines(data, whole=True):
        assert "\x1b" not in line.text
        assert "\n" not in line.text


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"counts": {"added": 0, "changed": 0, "removed": 0, "bytes": 0}}, ""),
        ({"counts": {"added": 1, "changed": 0, "removed": 0, "bytes": 0}}, "files: 1 added"),
        ({"mounts": ["/a", "/b"]}, "2 mounts"),
    ],
)
def test_a_line_for_changes_counts_nothing_that_is_not_there(changes: dict[str, Any], line: str) -> None:
    """Nothing but counts of nothing is nothing; of what is not known, how many there are."""
    assert changes_line(changes) == line
