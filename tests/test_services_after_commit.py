"""Attacks on what a preview puts off until after its commit: it is typed, somebody's, shown, and never a command line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from skillrun.overlay.diff.changes import scan
from skillrun.overlay.diff.deferred import write_deferred
from skillrun.overlay.mount.layers import Layer, Layers
from skillrun.overlay.mount.service_request import Refused, ServiceRequest, understand
from skillrun.overlay.process.probe import probe
from skillrun.overlay.process.supervisor import View
from skillrun.overlay.transaction.commit import commit
from tests.dev_machine import as_dev, python
from tests.lab import needs_overlay
from tests.viewing import root_view, run_in

pytestmark = [
    pytest.mark.root,
    pytest.mark.overlay,
    pytest.mark.skipif(probe().tier != "R", reason=f"no root view here: {'; '.join(probe().reasons)}"),
]

NOBODY = "setpriv --reuid 65534 --regid 65534 --clear-groups "
NOTE = "printf '%s\\0' {count} {words} >/dev/skillrun/asked/{name}"


@pytest.fixture(scope="module")
def view(tmp_path_factory: pytest.TempPathFactory) -> Iterator[View]:
    """One root view for all attacks."""
    with root_view(tmp_path_factory.mktemp("run") / "changes") as view:
        yield view


def note(name: str, *words: str) -> str:
    """Shell text that puts these words into the queue by hand, past every stand-in."""
    return NOTE.format(count=len(words), words=" ".join(f"'{word}'" for word in words), name=name)


@pytest.mark.parametrize("who", ["", NOBODY], ids=["root", "nobody"])
def test_no_command_line_comes_out_of_a_view(who: str, view: View) -> None:
    """Whoever writes to the queue by hand, root inside too, gets no command carried out: only typed requests are any."""
    before = len(view.asked())
    commands = (
        ("bash", "-c", "touch /tmp/owned"),
        ("systemctl", "start", "/tmp/evil.service"),
        ("systemctl", "--root=/tmp", "start", "x"),
        ("service", "../../tmp/evil", "start"),
        ("deb-systemd-invoke", "start"),
        ("systemctl", "edit", "ssh"),
        ("/tmp/systemctl", "start", "ssh"),
    )
    for number, words in enumerate(commands):
        script = note(f"{'n' if who else 'r'}{number}", *words)
        assert run_in(view, [*who.split(), "sh", "-c", script])[0] == 0
    asked = view.asked()[before:]
    assert len(asked) == len(commands)
    assert not [request for request in asked if isinstance(request, ServiceRequest)]


def test_nobody_cannot_speak_for_root(view: View) -> None:
    """A request is its writer's: another user's is refused and told, whether noted by hand or through a stand-in."""
    before = len(view.asked())
    for script in (note("x1", "systemctl", "start", "ssh"), "/usr/sbin/policy-rc.d ssh.service start"):
        run_in(view, [*NOBODY.split(), "sh", "-c", script])
    asked = view.asked()[before:]
    assert [(type(item), item.by) for item in asked] == [(Refused, 65534), (Refused, 65534)]
    assert "only root" in asked[0].reason  # type: ignore[union-attr]


def test_nobody_cannot_reach_the_notes_of_others(view: View) -> None:
    """Root's note can be neither listed, read, changed, removed, replaced nor copied by a link from another user."""
    assert run_in(view, "/usr/sbin/policy-rc.d cron.service restart")[0] == 101
    name = run_in(view, "cd /dev/skillrun/asked; grep -la cron.service *")[1].split()[0]
    path = f"/dev/skillrun/asked/{name}"
    before = view.asked()
    for attack in (
        "ls /dev/skillrun/asked",
        f"cat {path}",
        f"echo x >>{path}",
        f"rm -f {path}; [ ! -e {path} ]",
        f"mv {path} {path}-moved",
        f"ln {path} /dev/skillrun/asked/second",
        "mv -T /dev/skillrun/asked /dev/skillrun/other",
        "rmdir /dev/skillrun/asked",
        f"ln -sf /etc/passwd {path}",
        "ln -s /etc/shadow /dev/skillrun/asked/link && cat /dev/skillrun/asked/link",
    ):
        status, output = run_in(view, [*NOBODY.split(), "sh", "-c", attack])
        assert status != 0, f"{attack}: {output}"
    assert view.asked() == before


def test_a_queue_full_of_rubbish_is_read_in_time(view: View) -> None:
    """Pipes, endless files, links and thousands of notes neither hang the reader nor come out of it."""
    before = [item for item in view.asked() if isinstance(item, ServiceRequest)]
    run_in(view, "cd /dev/skillrun/asked; mkfifo p; ln -s /dev/zero z; mkdir d; head -c 100000 /dev/zero >big")
    run_in(view, [*NOBODY.split(), "sh", "-c", "cd /dev/skillrun/asked; for i in $(seq 1500); do : >f$i; done"])
    assert [item for item in view.asked() if isinstance(item, ServiceRequest)] == before
    run_in(view, "cd /dev/skillrun/asked; rm -rf p z d big f*")


@pytest.mark.parametrize(
    ("words", "by", "expected"),
    [
        ("systemctl --user start app.timer", 1000, "systemctl --user start app.timer"),
        ("systemctl --user start app.timer", 65534, ""),
        ("systemctl start app.timer", 1000, ""),
        ("systemctl start app@one.service x.socket", 0, "systemctl start app@one.service x.socket"),
        ("systemctl -H root@host start x", 0, ""),
        ("service x start y", 0, ""),
        ("rc-update add x /tmp/evil", 0, ""),
        ("", 0, ""),
    ],
)
def test_who_may_ask_for_what(words: str, by: int, expected: str) -> None:
    """Root for the machine's services, the person for their own; every other form is refused."""
    found = understand(words.split(), by, 1000)
    assert (str(found) if isinstance(found, ServiceRequest) else "") == expected


# --- the commit ------------------------------------------------------------------------------------


@needs_overlay
def test_what_a_partial_commit_leaves_out_is_not_started(tmp_path: Path) -> None:
    """A service whose unit stays out is not started, and the commit says so; the others are."""
    units = tmp_path / "real/etc/systemd/system"
    units.mkdir(parents=True)
    upper = tmp_path / "run/changes/layers/0/up"
    for name in ("wanted.service", "unwanted.service", "many@.service"):
        place = upper / "etc/systemd/system" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text("[Service]\n")
    layers = Layers(tmp_path / "run/changes", 0, "R", "identity", (Layer(str(tmp_path / "real"), str(upper)),))
    changes_folder = tmp_path / "run/changes"
    requests = [ServiceRequest("systemctl", "start", (unit,)) for unit in ("wanted", "unwanted.service", "many@1", "other")]
    write_deferred(changes_folder, requests)
    ran: list[Sequence[str]] = []

    def run(argv: Sequence[str], cwd: str) -> tuple[int, str]:
        ran.append(tuple(argv[1:]))
        return 3 if argv[1].startswith("is-") else 0, ""

    done = commit(layers, scan(layers, changes_folder), changes_folder, only=[f"{units}/wanted.service"], run=run)
    assert [words for words in ran if words[0] == "start"] == [("start", "wanted"), ("start", "other")]
    assert sum("is not done" in warning for warning in done.warnings) == 2


@pytest.mark.skipif(not python(), reason="no Python here that an ordinary user may run")
def test_the_part_that_runs_as_root_carries_out_what_was_shown() -> None:
    """Requests that are put into the run folder between the question and the answer stop the commit: its digest covers them."""
    done = as_dev(
        """
import os
from pathlib import Path
from skillrun.ports import Command
from skillrun.targets.preview import PreviewTarget
from skillrun.overlay.transaction.privileged import Work
from skillrun.overlay.transaction.workspace import CommitError
from skillrun.overlay.diff.deferred import write_deferred
from skillrun.overlay.mount.service_request import ServiceRequest
os.chdir(Path.home())
target = PreviewTarget.open(Path.home() / "run", cwd=str(Path.home()), tier="R")
stream = target.run(Command("touch ~/new; sudo /usr/sbin/policy-rc.d --quiet nothing.service restart"))
for _ in stream: pass
target.close()
folder = Path("run/changes")
work = Work(folder, target.root)
print("shown", work.scan()["deferred"])
write_deferred(folder, [ServiceRequest("systemctl", "start", ("evil.service",))])
try:
    print("committed", work.commit())
except CommitError as error:
    print("refused", error)
print(Path("new").exists())
Work(folder, target.root).drop()
""",
        sudo=True,
    )
    assert "shown ['deb-systemd-invoke restart nothing.service']" in done.stdout, done.stdout + done.stderr
    assert "refused / is not as it was when the changes were shown\nFalse" in done.stdout, done.stdout + done.stderr
