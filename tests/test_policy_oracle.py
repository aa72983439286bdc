"""Lines nobody wrote, judged and run: what the policy allows does nothing but look, whoever says so."""

import hashlib
import shutil
from pathlib import Path

import pytest

from skillrun.policy.harmless import calls as harmless
from tests import oracle, oracle_machine
from tests.oracle_lines import PATH

pytestmark = [
    pytest.mark.root,
    pytest.mark.overlay,
    pytest.mark.skipif(bool(oracle_machine.unusable()), reason=oracle_machine.unusable() or "-"),
]

LINES = 2000


def seed() -> int:
    """Of the table: other lines are drawn when what they are drawn from and judged by is another."""
    table = Path(harmless.__file__).with_name("calls.txt")
    return int.from_bytes(hashlib.sha256(table.read_bytes()).digest()[:4])


def test_what_is_allowed_does_nothing_but_look() -> None:
    """No allowed line writes outside /tmp, connects, signals others or starts what is not its program's own."""
    print(f"seed {seed()}")
    found = oracle.ask(seed(), LINES)
    print(found.figures())
    assert len(found.programs) >= 120 or found.verdicts["allow"] < LINES / 4, found.figures()
    assert not found.problems, "\n".join(f"{line}: {kind} {subject}" for (_, kind, subject), line in found.problems)


LOGS = "python3 -c 'import syslog; syslog.openlog(logoption=syslog.LOG_CONS); syslog.syslog(str())'"
DEEDS = {
    "touch new": {("write", "/srv/oracle/new"), ("exec", "/usr/bin/touch")},
    "cd d && echo x > ../new": {("write", "/srv/oracle/new")},
    "mv f g": {("write", "/srv/oracle/f"), ("write", "/srv/oracle/g"), ("exec", "/usr/bin/mv")},
    "chmod 600 names": {("write", "/srv/oracle/names"), ("exec", "/usr/bin/chmod")},
    "exec 3<> /dev/tcp/127.0.0.1/9": {("connect", 'sa_family=AF_INET, sin_port=htons(9), sin_addr=inet_addr("127.0.0.1")')},
    "kill 1": {("signal", "1, SIGTERM")},
    "./evil": {("exec", "./evil"), ("exec", "/usr/bin/touch"), ("write", "/srv/oracle/evil-ran")},
    "(sleep 9 & sleep 1) ; echo x > /tmp/a; echo y > /dev/null": {("exec", "/usr/bin/sleep")},
    "cat f": {("exec", "/usr/bin/cat")},
    "python3 -c 'import syslog; syslog.openlog(logoption=syslog.LOG_CONS); syslog.syslog(str())'": {
        ("exec", str(shutil.which("python3", path=PATH)))
    },
}


def test_the_machine_sees_what_a_line_does() -> None:
    """Writing, connecting, signalling and starting are seen, wherever a line goes first; temporary files do not count."""
    seen = oracle_machine.run(list(DEEDS))
    assert {line: did.deeds for line, did in zip(DEEDS, seen, strict=True)} == DEEDS


def test_an_allowed_line_that_does_more_would_be_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oracle is no yes-man: were `touch` in the table of what looks, its line would be a problem."""
    monkeypatch.setattr(oracle.Judge, "command", lambda *_: oracle.ALLOWED)
    found = oracle.tell(["touch new", "cat f"])
    assert [problem for problem, _ in found.problems] == [("touch", "write", "/srv/oracle/new")]
