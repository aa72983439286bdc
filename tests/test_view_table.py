"""The mount table as path lookup sees it."""

from __future__ import annotations

import pytest

from skillrun.overlay.kernel.mountinfo import Mounted, below, is_kernel_state, mount_of, read_mounts

TABLE = """\
22 27 0:21 / /proc rw - proc proc rw
27 1 254:0 / / rw,relatime - ext4 /dev/vda rw
30 27 8:1 / /data rw,nosuid - xfs /dev/sda1 rw
31 30 8:2 / /data/inner rw - xfs /dev/sda2 rw
40 27 8:3 / /cover/below rw - ext4 /dev/sda3 rw
41 27 8:4 / /cover rw - ext4 /dev/sda4 rw
50 27 0:50 / /twice rw - tmpfs first rw
51 50 0:51 / /twice ro - tmpfs second rw
60 27 0:60 / /odd\\040name\\134x rw - tmpfs odd rw
70 27 0:70 / /net rw - nfs4 server:/x rw
"""


def test_covered_mounts_are_left_out() -> None:
    """A mount below which another was mounted over cannot be reached; of two on one place the upper one counts."""
    found = {mounted.target: mounted for mounted in read_mounts(TABLE)}
    assert sorted(found) == ["/", "/cover", "/data", "/data/inner", "/net", "/odd name\\x", "/proc", "/twice"]
    assert found["/twice"].source == "second"
    assert found["/twice"].read_only
    assert found["/net"].remote


def test_parents_come_first() -> None:
    """Whoever mounts over the list in its order never mounts over something already done."""
    order = [mounted.target for mounted in read_mounts(TABLE)]
    assert order[0] == "/"
    assert order.index("/data") < order.index("/data/inner")


def test_a_chroot_without_a_line_for_root_has_one() -> None:
    """In a chroot that is no mount point `/` is still a file system."""
    assert [mounted.target for mounted in read_mounts("30 27 8:1 / /data rw - xfs /dev/sda1 rw\n")] == ["/", "/data"]


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("/etc/passwd", "/"),
        ("/data", "/data"),
        ("/data/inner/x", "/data/inner"),
        ("/database", "/"),
        ("/cover/below", "/cover"),
    ],
)
def test_the_mount_that_holds_a_path(path: str, target: str) -> None:
    """The longest mount point above a path, by whole names."""
    assert mount_of(path, read_mounts(TABLE)).target == target


def test_kernel_state_is_known_by_type_and_place() -> None:
    """/proc, /sys, /dev and control groups are replaced in a view, not covered."""
    assert is_kernel_state(Mounted("/sys/fs/cgroup", "tmpfs", frozenset(), ""))
    assert is_kernel_state(Mounted("/somewhere", "cgroup2", frozenset(), ""))
    assert not is_kernel_state(Mounted("/srv", "tmpfs", frozenset(), ""))
    assert below("/a/b", "/a")
    assert not below("/ab", "/a")
