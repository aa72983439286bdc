"""Removing exactly what came on another machine: packages of apt, and paths."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from skillrun.fleet.wires import Ran, Reached
from skillrun.pty.protocol import quote


@dataclass(frozen=True, slots=True)
class Came:
    """What came with a run."""

    packages: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()


@dataclass(slots=True)
class Removed:
    """What went, and what had to stay, in words."""

    packages: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    failed: list[str] = field(default_factory=list)


def remove(host: Reached, came: Came, as_root: Callable[[str], Ran]) -> Removed:
    """Packages go only if nothing else would go with them, a directory only when it is empty. Raises Unreachable."""
    done = Removed()
    if came.packages:
        _packages(host, came, as_root, done)
    if came.paths:
        words = " ".join(quote(path) for path in reversed(came.paths))
        as_root(
            f'for f in {words}; do if [ -d "$f" ] && [ ! -L "$f" ]; then rmdir "$f"; else rm -f "$f"; fi; done 2> /dev/null; :'
        )
        told = host.run(f'for f in {words}; do [ ! -e "$f" ] || printf "%s\\n" "$f"; done').output
        left = told.decode("utf-8", "surrogateescape").splitlines()
        done.paths = tuple(path for path in came.paths if path not in left)
        if left:
            done.failed.append(f"kept {' '.join(left[:5])}: not empty, or not ours to delete")
    return done


def _packages(host: Reached, came: Came, as_root: Callable[[str], Ran], done: Removed) -> None:
    names = " ".join(quote(name) for name in came.packages)
    also = host.run(f"apt-get -s remove {names} 2>&1 | sed -n 's/^Remv \\([^ ]*\\).*/\\1/p'").output.decode().split()
    if others := sorted(set(also) - set(came.packages)):
        done.failed.append(f"kept {' '.join(came.packages)}: {' '.join(others[:5])} came later and need them")
        return
    ran = as_root(f"DEBIAN_FRONTEND=noninteractive apt-get -y remove {names}")
    if ran.code == 0:
        done.packages = came.packages
        return
    lines = [line for line in f"{ran.output.decode('utf-8', 'replace')}\n{ran.errors}".splitlines() if line.strip()]
    done.failed.append(f"the packages could not be removed: {lines[-1][-200:] if lines else f'it ended with {ran.code}'}")
