"""A container without CAP_SYS_ADMIN, its root an overlay: the view has a user namespace, where mounts are locked together.

It is laid in parts then, and says what is different.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.boxed import CODE, box, read, said
from tests.lab import on_a_machine
from tests.test_preview_end_to_end import VARIES, differences

pytestmark = on_a_machine

KEPT = ".skillrun-0*"
"""Where skillrun keeps the other side of a commit: on the mount it was made on."""
LINKED = tuple(f"srv/ground/{name}-*" for name in ("*link", "*pair", "*trio", "*swap", "*quad", "*duo"))
"""Names of one file: they come apart there, and the view says so."""
CASES = f"{CODE}/tests/cases/commit"
TORTURE = f"""
mkdir -p /srv/ground /etc/odd; cat > /srv/torture.sh <<'END'
set -e; cd /srv/ground; . {CASES}/attributes.sh
setcap() {{ true; }}  # in a user namespace neither capabilities of a file outside nor devices
mknod() {{ true; }}
. {CASES}/torture.sh
echo top > /new-at-the-top; mkdir -p /new-tree/below; echo x > /new-tree/below/x; useradd -m somebody
rm -r /usr/share/doc/bash; rm -r /etc/skel; echo file > /etc/skel; mv /usr/share/base-passwd /usr/share/base-passwd-moved
ln -s /etc/passwd /etc/odd/link; rm /etc/host.conf; echo more >> /etc/profile; chmod 700 /media; echo new > /opt/new
rm -r /etc/cron.daily; mkdir /etc/cron.daily; echo other > /etc/cron.daily/other
END
cd /srv/ground && . {CASES}/attributes.sh && . {CASES}/torture.setup.sh
"""


def report(how: str) -> dict[str, Any]:
    """What `inside_machine.py` found in a machine of its own."""
    with box(user="root") as machine:
        work = f"cd; python3 {CODE}/tests/inside_machine.py {how} root /srv/torture.sh 2>/tmp/errors >/tmp/report"
        said(machine, f"{TORTURE}\n{work} || {{ tail -n 30 /tmp/errors; exit 1; }}")
        found: dict[str, Any] = json.loads(read(machine, "/tmp/report"))
    assert found["status"] == 0, found.get("output")
    return found


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_commit_equals_doing_it_directly_and_undo_equals_before() -> None:
    """Every kind of change, at the top, in directories on the way to a mount, and in trees that cannot be renamed."""
    direct, view = report("direct"), report("view")
    assert differences(view["before"], view["previewed"]) == {}
    assert view["done"]["left"] == []
    assert differences(direct["after"], view["committed"], times=False, varies=(*VARIES, KEPT, *LINKED)) == {}
    assert differences(view["before"], view["undone"], varies=(KEPT,)) == {}
    assert differences(view["committed"], view["redone"], varies=(KEPT,)) == {}


def test_the_first_thing_said_is_where_changes_are_kept_and_which_processes_are_seen() -> None:
    """A dry run from the command line works there, names what is different, and leaves nothing."""
    with box(user="root") as machine:
        before = said(machine, LOOK)
        skill = "---\nname: small\ndescription: One file.\n---\n# Small\n```bash\necho 1 > /etc/small\n```\n"
        skill += "## Verify\n```bash\ntest -s /etc/small\n```\n"
        machine.view.write("/root/small.md", skill.encode())
        run = "python3 -m skillrun install /root/small.md --model builtin --approve all --dry-run </dev/null"
        text = said(machine, f"cd; {run}")
        assert "view of the whole machine" in text.splitlines()[0], text
        assert "changes of / are kept in /dev/shm (memory" in text
        assert "/proc shows the processes of the outside" in text
        assert "/etc/small" in text
        assert said(machine, "rm /root/small.md; " + LOOK) == before


LOOK = "cd /; ls -laR --full-time etc usr/bin opt srv root/.bashrc | grep -v '[.][.]$'; ls -A /dev/shm /run /; mount | wc -l"


def test_it_is_what_it_says_it_is() -> None:
    """The machine of these tests really lacks the right to mount, and gives no new /proc: otherwise they show nothing."""
    with box(user="root") as machine:
        said(machine, "unshare --mount true", code=1)
        said(machine, "unshare --user --map-root-user --mount --pid --fork mount -t proc proc /mnt", code=32)
        assert said(machine, "stat -f -c %T /") == "overlayfs\n"
