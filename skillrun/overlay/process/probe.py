"""Which kinds of preview this machine can do, found out by doing them.

Reading sysctls does not answer it: AppArmor, a container's seccomp filter or the file system may still say no.
Nothing is remembered on disk, since a dry run may leave nothing behind and a probe takes milliseconds.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from skillrun.overlay.kernel.mountinfo import mount_of, read_mounts

NAMES = {
    "R": "root view: the whole machine, copy-on-write",
    "P": "view of sudo installs without sudo",
    "U": "user view: your home directory, copy-on-write",
    "J": "journal: runs for real, and can be undone; not a dry run",
    "S": "simulation: commands are listed, package managers' own simulators run",
}


@dataclass(frozen=True, slots=True)
class Tier:
    """One kind of preview on this machine."""

    letter: str
    available: bool
    why_not: str = ""
    """Empty when it is available."""
    how: str = ""
    """What a person can do to get it, or what it will ask of them."""

    @property
    def name(self) -> str:
        """What it is, in words."""
        return NAMES[self.letter]


@dataclass(frozen=True, slots=True)
class Probe:
    """What was found: every tier, best first."""

    tiers: tuple[Tier, ...]

    @property
    def tier(self) -> str:
        """The letter of the best available tier."""
        return next(tier.letter for tier in self.tiers if tier.available)

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why the tiers above the best one are not available, and how to get them."""
        missing = []
        for tier in self.tiers:
            if tier.available:
                break
            missing.append(f"no {tier.name}: {tier.why_not}" + (f" ({tier.how})" if tier.how else ""))
        return tuple(missing)


def explain(folder: str | None = None) -> list[tuple[str, bool, str, str]]:
    """(tier, available, why not, how to enable it) for every tier, best first."""
    return [(tier.letter, tier.available, tier.why_not, tier.how) for tier in probe(folder).tiers]


@cache
def probe(folder: str | None = None) -> Probe:
    """Try every tier once per process. `folder`: where run folders live (the upper directories go there)."""
    place = folder or default_folder()
    unbuilt = Tier("P", False, "skillrun cannot do that yet", "let sudo be asked for once, or install below your home")
    return Probe((_root_tier(place), unbuilt, _user_tier(place), _journal_tier(), Tier("S", True)))


def default_folder() -> str:
    """The nearest existing directory to where run folders are kept."""
    import platformdirs

    path = Path(platformdirs.user_state_dir("skillrun"))
    while not path.is_dir():
        path = path.parent
    return str(path) if os.access(path, os.W_OK) else tempfile.gettempdir()


def sudo_command(ask: bool = True) -> tuple[tuple[str, ...], str]:
    """How to become root without being asked, or (with a remark, if one may `ask`) by being asked once; () if not at all."""
    if not shutil.which("sudo"):
        return (), "sudo is not installed"
    if subprocess.run(["sudo", "-n", "true"], capture_output=True, check=False).returncode == 0:
        return ("sudo", "-n", "--"), ""
    if not ask:
        return (), "sudo would ask for a password"
    if os.environ.get("SUDO_ASKPASS"):
        return ("sudo", "-A", "--"), "sudo will ask for your password once"
    try:
        with open("/dev/tty", "rb"):
            return ("sudo", "--"), "sudo will ask for your password once"
    except OSError:
        return (), "sudo would ask for a password, and there is no terminal to ask on"


def _root_tier(folder: str) -> Tier:
    if sys.platform != "linux":
        return Tier("R", False, f"{platform.system()} has no overlay file system", "run skillrun in a Linux machine")
    if os.geteuid() == 0:
        reason = try_view("R", folder)
        return Tier("R", not reason, reason, _advice(reason))
    sudo, remark = sudo_command()
    if sudo and remark:
        return Tier("R", True, "", f"{remark}; not tried until then")
    if sudo:
        reason = try_view("R", folder, sudo)
        return Tier("R", not reason, reason, _advice(reason))
    return Tier("R", False, remark, "give your user sudo rights, or run skillrun as root")


def _user_tier(folder: str) -> Tier:
    if sys.platform != "linux":
        return Tier("U", False, f"{platform.system()} has no user namespaces", "run skillrun in a Linux machine")
    if os.geteuid() == 0:
        return Tier("U", False, "for ordinary users; root has the root view", "run skillrun as an ordinary user")
    reason = try_view("U", folder)
    if reason and mount_of(os.path.realpath(os.path.expanduser("~")), read_mounts()).fstype == "overlay":
        told = f"your home directory lies on an overlay itself, as in a container, and no further layer of yours can ({reason})"
        return Tier("U", False, told, "mount a disk or a volume at your home directory, or run skillrun as root")
    return Tier("U", not reason, reason, _advice(reason))


def _journal_tier() -> Tier:
    if sys.platform != "linux":
        return Tier("J", False, f"{platform.system()} has no seccomp notifications")
    from skillrun.overlay.kernel.seccomp import try_notifications

    reason = try_notifications()
    return Tier("J", not reason, reason)


def try_view(letter: str, folder: str, sudo: tuple[str, ...] = ()) -> str:
    """Build a view below `folder`, write in it, and take it down: empty when that worked, else why not."""
    from skillrun.overlay.kernel.remove import remove_tree
    from skillrun.overlay.mount.spec import Account, Spec
    from skillrun.overlay.process.supervisor import View, ViewError, new_id
    from skillrun.overlay.transaction.privileged import Work
    from skillrun.overlay.transaction.workspace import CommitError

    try:
        changes = tempfile.mkdtemp(prefix=".skillrun-probe-", dir=folder)
    except OSError as error:
        return f"{folder} cannot be written to ({error.strerror})"
    account = Account.current()
    try:
        with View(Spec(letter, new_id(), changes, account, elevated=bool(sudo)), sudo) as view:
            view.write(os.path.join(account.home, ".skillrun-probe"), b"")
        Work(Path(changes), sudo).drop()
    except (ViewError, CommitError, OSError) as error:
        return str(error)
    finally:
        remove_tree(Path(changes))
    return ""


def _advice(reason: str) -> str:
    """What a person can do about a refusal, by the settings that most often cause it."""
    settings = (
        (
            "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
            "1",
            "sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0",
        ),
        ("/proc/sys/kernel/unprivileged_userns_clone", "0", "sudo sysctl kernel.unprivileged_userns_clone=1"),
        ("/proc/sys/user/max_user_namespaces", "0", "sudo sysctl user.max_user_namespaces=10000"),
    )
    if not reason:
        return ""
    for path, value, command in settings:
        try:
            if Path(path).read_text().strip() == value and os.geteuid() != 0:
                return command
        except OSError:
            continue
    if "not permitted" in reason:
        # A container's root needs no rights of the host's for a view, only leave to make namespaces and mounts.
        return "in a container: start it with --security-opt seccomp=unconfined --security-opt apparmor=unconfined"
    if "overlay" in reason:
        return "keep skillrun's state on ext4, xfs or btrfs (XDG_STATE_HOME)"
    return ""
