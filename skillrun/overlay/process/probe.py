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
from skillrun.overlay.transaction.root import Root

NAMES = {
    "R": "the whole machine, copy-on-write",
    "U": "your home directory, copy-on-write",
    "S": "none: commands are listed, package managers' own simulators run",
}
_SHORT = {"R": "view of the whole machine", "U": "view of your home directory"}


@dataclass(frozen=True, slots=True)
class Tier:
    """One kind of preview on this machine."""

    letter: str
    available: bool
    why_not: str = ""
    """Empty when it is available."""
    how: str = ""
    """What a person can do to get it, or what it will ask of them."""
    untried: bool = False
    """Trying it would have asked for a password, so it was not."""

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
            missing.append(f"no {_SHORT[tier.letter]}: {tier.why_not}" + (f" ({tier.how})" if tier.how else ""))
        return tuple(missing)


def explain(folder: str | None = None) -> list[tuple[str, bool, str, str]]:
    """(tier, available, why not, how to enable it) for every tier, best first."""
    return [(tier.letter, tier.available, tier.why_not, tier.how) for tier in probe(folder).tiers]


@cache
def probe(folder: str | None = None) -> Probe:
    """Try every tier once per process. `folder`: where run folders live (the upper directories go there)."""
    place = folder or default_folder()
    return Probe((_root_tier(place), _user_tier(place), Tier("S", True)))


def default_folder() -> str:
    """The nearest existing directory to where run folders are kept."""
    import platformdirs

    path = Path(platformdirs.user_state_dir("skillrun"))
    while not path.is_dir():
        path = path.parent
    return str(path) if os.access(path, os.W_OK) else tempfile.gettempdir()


@dataclass(frozen=True, slots=True)
class Elevation:
    """How this person becomes root."""

    words: tuple[str, ...] = ()
    """The command, as far as the program to run; empty when there is no way."""
    asks: bool = False
    """A password will be asked for."""
    why_not: str = ""
    """Why there is no way, as sudo says it where sudo was asked."""


def find_elevation(ask: bool = True, asking: bool = False) -> Elevation:
    """How to become root, found out without asking anybody anything.

    `ask`: a password may be asked for; `asking`: by a helper of ours, else by sudo on the terminal.
    """
    if not shutil.which("sudo"):
        return Elevation(why_not="sudo is not installed")
    if _sudo("true").returncode == 0:
        return Elevation(("sudo", "-n", "--"))
    # Of a command sudo tells nobody whether it would be allowed before it has the password; of `-v` it does.
    said = _sudo("-v").stderr.strip()
    if said and not any(word in said.lower() for word in ("password is required", "authentication is required")):
        return Elevation(why_not=said.splitlines()[-1].removeprefix("sudo: "))
    if not ask:
        return Elevation(why_not="sudo would ask for a password")
    if asking or os.environ.get("SUDO_ASKPASS"):
        return Elevation(("sudo", "-A", "--"), asks=True)
    try:
        with open("/dev/tty", "rb"):
            return Elevation(
                ("sudo", "-p", "The preview shows the whole machine, which only root can; password of %p: ", "--"), asks=True
            )
    except OSError:
        return Elevation(why_not="sudo would ask for a password, and there is no terminal to ask on")


def refusal_of_sudo() -> str:
    """Why no password would help this account to become root, as sudo says it; empty where one may. Asks nobody."""
    return "" if os.geteuid() == 0 else find_elevation(asking=True).why_not


def _sudo(*words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "LC_ALL": "C"}
    return subprocess.run(
        ["sudo", "-n", *words], capture_output=True, text=True, errors="replace", env=environment, stdin=subprocess.DEVNULL
    )


def _root_tier(folder: str) -> Tier:
    if sys.platform != "linux":
        return Tier("R", False, f"{platform.system()} has no overlay file system", "run skillrun in a Linux machine")
    if os.geteuid() == 0:
        reason = try_view("R", folder)
        return Tier("R", not reason, reason, _advice(reason))
    sudo = find_elevation()
    if sudo.asks:
        return Tier("R", True, "", "sudo will ask for your password", untried=True)
    if sudo.words:
        reason = try_view("R", folder, Root(sudo.words))
        return Tier("R", not reason, reason, _advice(reason))
    advice = "an administrator can give your user sudo rights; or run skillrun as root"
    return Tier("R", False, sudo.why_not, "run skillrun on a terminal" if "terminal to ask on" in sudo.why_not else advice)


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


def try_view(letter: str, folder: str, root: Root | None = None) -> str:
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
        with View(Spec(letter, new_id(), changes, account, elevated=root is not None), root) as view:
            view.write(os.path.join(account.home, ".skillrun-probe"), b"")
        Work(Path(changes), root).drop()
    except (ViewError, CommitError, OSError) as error:
        return str(error)
    finally:
        remove_tree(Path(changes))
        if root is not None:
            root.close()
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
