"""Password hashes of the machine are not in a view; what is done to accounts inside is committed all the same."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from skillrun.overlay.mount.kept_passwords import MARK, marked, put_back
from skillrun.overlay.process.probe import probe
from skillrun.overlay.transaction.privileged import Work
from skillrun.ports import Command, result_of
from skillrun.targets.preview import PreviewTarget
from tests.own_root import in_own_root

HASH = "$y$j9T$canarycanarycanary$canarycanarycanarycanarycanarycanarycanaryc"
OTHER = "$6$others$othersothersothersothersothersothersothers"


@pytest.mark.parametrize(
    ("line", "inside"),
    [
        (f"me:{HASH}:1:0:99999:7:::", "me:{}:1:0:99999:7:::"),
        (f"me:!{HASH}:1::::::", "me:!{}:1::::::"),
        ("me:aBcDeFgHiJkLm:1::::::", "me:{}:1::::::"),
        *((line, line) for line in ("me:*:1::::::", "me:!:1::::::", "me:!*:1:::::", "me::1::::::", "me:x:", "", "me", "me:")),
    ],
)
def test_a_hash_is_shown_as_a_mark_and_nothing_else_is_other(line: str, inside: str) -> None:
    """What is committed unchanged is what was there before."""
    shown = marked(line.encode())
    assert shown == inside.encode().replace(b"{}", MARK)
    assert put_back(shown, line.encode()) == line.encode()


def test_a_mark_becomes_the_hash_of_its_own_name_alone() -> None:
    """Nobody inside gives one user the password of another, nor one to a name that has none."""
    outside = f"root:{HASH}:1::::::\nother:{OTHER}:1::::::\nnobody:*:1::::::\n".encode()
    mark = MARK.decode()
    inside = f"root:!{mark}:1::::::\nevil:{mark}:2::::::\nnobody:{mark}:1::::::\nother:$6$new$newnewnewnew:3::::::\n"
    assert put_back(inside.encode(), outside).decode() == inside.replace(f"root:!{mark}", f"root:!{HASH}")


SCRIPT = f"""
cat /etc/shadow /etc/shadow- /etc/gshadow /var/backups/shadow.bak /etc/ssh/ssh_host_x_key /etc/ssl/private/x.key >seen 2>&1
getent shadow canary >>seen
grep -rs canarycanary /etc /var/backups /var/lib /.skillrun* /run >>seen
useradd -M fresh && usermod -L canary && echo 'other:newword' | chpasswd -c SHA256 && echo done
cat /etc/shadow >>seen
grep -c '{MARK.decode()[1:-1]}' /etc/shadow
"""


@pytest.mark.root
@pytest.mark.overlay
@pytest.mark.skipif(probe().tier != "R", reason=f"no root view here: {'; '.join(probe().reasons)}")
def test_root_inside_reads_no_hash_and_changes_accounts(tmp_path: Path) -> None:
    """A user is added, one is locked, one has a new password; the others' hashes are never seen and stay; undo is exact."""

    def inside() -> None:
        for name, word in (("canary", HASH), ("other", OTHER)):
            subprocess.run(["useradd", "-M", "-p", word, name], check=True)
        for place in (
            "/var/backups/shadow.bak",
            "/etc/ssh/ssh_host_x_key",
            "/etc/ssl/private/x.key",
            "/run/credentials/x/key",
            "/run/secrets/token",
            "/run/user/0/krb5cc",
            "/etc/keys/disk",
            "/var/lib/cloud/instance/user-data.txt",
        ):
            Path(place).parent.mkdir(parents=True, exist_ok=True)
            Path(place).write_text(f"-----BEGIN PRIVATE KEY-----\n{HASH}")
        for store in ("/var/lib/skillrun/views/old/0/up/etc", "/.skillrun-0/old/0/up/etc", "/.skillrun-0-old/0/up/etc"):
            Path(store).mkdir(parents=True)  # of another run that can be taken back
            Path(store, "shadow").write_text(f"canary:{HASH}:1::::::\n")
        shadow, before = Path("/etc/shadow"), Path("/etc/shadow").read_bytes()
        folder = Path("/root/run")
        target = PreviewTarget.open(folder, cwd="/root")
        said = result_of(target.run(Command(SCRIPT))).output
        seen = target.get("/root/seen").decode()
        target.close()
        assert HASH not in seen, seen
        assert "othersothers" not in seen
        assert said.split() == ["done", "1"], said + seen
        assert shadow.read_bytes() == before
        work = Work(folder / "changes")
        assert HASH not in str(work.scan())
        work.commit()
        lines = dict(line.split(":", 1) for line in shadow.read_text().splitlines())
        assert lines["canary"].startswith(f"!{HASH}:")
        assert lines["other"].startswith("$5$")
        assert "fresh" in lines
        assert MARK.decode() not in shadow.read_text() + Path("/etc/shadow-").read_text() + Path("/etc/gshadow").read_text()
        status = os.stat(shadow)
        assert (status.st_mode & 0o7777, status.st_uid) == (0o640, 0)
        work.undo()
        assert shadow.read_bytes() == before
        work.redo()
        assert shadow.read_text().count(HASH) == 1
        work.undo()

    in_own_root(tmp_path, inside)
