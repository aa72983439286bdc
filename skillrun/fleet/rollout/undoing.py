"""Taking a rollout back on one machine: the packages that came, the paths that were made; and what cannot be taken back."""

from __future__ import annotations

from collections.abc import Sequence

from skillrun.fleet.reach import Host
from skillrun.fleet.rollout.machine import Machine
from skillrun.pty.protocol import quote


def wish(machine: Machine) -> list[str]:
    """What would be taken back there, in lines for a person."""
    lines = [f"{machine.name}: remove {' '.join(machine.packages)}"] if machine.packages else []
    return lines + ([f"{machine.name}: delete {' '.join(machine.made)}"] if machine.made else [])


def take_back(machine: Machine, host: Host, password: str | None) -> tuple[bool, str]:
    """Remove exactly what came. (did all of it go, what to tell the person). Raises Unreachable.

    Packages go only if nothing else would go with them; a directory only when it is empty.
    """
    told: list[str] = []
    good = True
    if machine.packages:
        names = " ".join(quote(name) for name in machine.packages)
        also = host.run(f"apt-get -s remove {names} 2>&1 | sed -n 's/^Remv \\([^ ]*\\).*/\\1/p'").output.decode().split()
        others = sorted(set(also) - set(machine.packages))
        if others:
            good = False
            told.append(f"kept {' '.join(machine.packages)}: {' '.join(others[:5])} came later and need them")
        else:
            done = _as_root(host, machine, f"DEBIAN_FRONTEND=noninteractive apt-get -y remove {names}", password)
            if done:
                good = False
                told.append(f"the packages could not be removed: {done}")
            else:
                told.append(f"removed {len(machine.packages)} packages (their settings stay)")
    if machine.made:
        words = " ".join(quote(path) for path in reversed(machine.made))
        text = (
            f'for f in {words}; do if [ -d "$f" ] && [ ! -L "$f" ]; then rmdir "$f"; else rm -f "$f"; fi; done 2> /dev/null; :'
        )
        _as_root(host, machine, text, password)
        left = host.run(f'for f in {words}; do [ ! -e "$f" ] || printf "%s\\n" "$f"; done').output.decode().splitlines()
        told.append(f"deleted {len(machine.made) - len(left)} paths")
        if left:
            good = False
            told.append(f"kept {' '.join(left[:5])}: not empty, or not ours to delete")
    if machine.changed and not told:
        return False, "nothing of it is known that could be taken back: a model's commands changed it"
    if machine.changed:
        told.append("not taken back: what commands changed in files that were there before, services, accounts")
    return good, "; ".join(told) or "nothing that is known came here"


def _as_root(host: Host, machine: Machine, text: str, password: str | None) -> str:
    """Run it with root's rights; what went wrong, or nothing."""
    rights: Sequence[str] = () if machine.root else ("sudo", "-S", "-p", "''") if password is not None else ("sudo", "-n")
    done = host.run(f"{' '.join(rights)} sh -c {quote(text)}", f"{password}\n".encode() if password is not None else b"")
    lines = [line for line in f"{done.output.decode('utf-8', 'replace')}\n{done.errors}".splitlines() if line.strip()]
    return "" if done.code == 0 else (lines[-1][-200:] if lines else f"it ended with {done.code}")
