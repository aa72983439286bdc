"""Is what a command really writes and runs what the policy said it would? Needs root, overlayfs and strace.

    python benchmarks/policy_strace.py            print the comparison
    python benchmarks/policy_strace.py --write    also put it into docs/policy.md

Method: each command of the sample runs once under `strace -f` in a copy-on-write view of this machine's root (an overlay in
a mount namespace of its own, its upper layer on a tmpfs that goes away with it), from an empty directory with a few files.
Successful system calls that create, change or remove a path, and successful `execve`s, are compared with the predicted
effects: a path must lie at or under a predicted write or delete (whatever ran as code is taken at its word: it was said
to be unknown); a program must be one the reading named. The other way round, a predicted path that was not touched is listed.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from skillrun.events import EffectKind  # noqa: E402
from skillrun.policy.judge import Judge  # noqa: E402
from skillrun.ports import Place  # noqa: E402

DOCUMENT = ROOT / "docs" / "policy.md"
SAMPLE = ROOT / "tests" / "cases" / "policy" / "strace.txt"
BEGIN, END = "<!-- agreement: python benchmarks/policy_strace.py --write -->", "<!-- end of agreement -->"
WORK = "/srv/zz"
SETUP = (
    f"mkdir -p {WORK}/d/e && cd {WORK} && echo one > a && echo two > b && echo three > d/e/c && tar czf t.tgz a b && cp a x.sh"
)
CALLS = "execve,openat,open,creat,unlink,unlinkat,rename,renameat,renameat2,mkdir,mkdirat,rmdir,link,linkat,symlink,symlinkat"
CALLS += ",truncate,chmod,fchmodat,chown,lchown,fchownat,mknod,mknodat,chdir,fchdir"
EXPLAINED = [
    (r"wrote /srv/zz/p(/q)?,", "-p makes the parents that are missing, too"),
    (r"ran (gzip|sh),", "tar starts the compressor itself; it has no effect of its own"),
    (r"ran dpkg-query", "dpkg hands queries to dpkg-query, which only reads"),
    (r"wrote .*/sed\w+", "the new text is written beside the file and renamed over it"),
    (r"ld\.so\.cache~|aux-cache", "ldconfig's own cache, written beside and renamed"),
    (r"/etc/\.pwd\.lock", "the lock of the account files"),
]
"""What disagrees for a reason: helpers a program starts by itself and files that never outlive it."""
_LINE = re.compile(r"^(?:\[pid +\d+\] |\d+ +)?(\w+)\((.*)\) += (-?\d+)")
_PATH = re.compile(r'(?:AT_FDCWD(?:<([^>]*)>)?|\d+<([^>]*)>)?,? ?"((?:[^"\\]|\\.)*)"')
_OPAQUE = frozenset((EffectKind.RUN_CODE, EffectKind.INSTALL, EffectKind.REMOVE, EffectKind.SERVICE, EffectKind.UNKNOWN))


@dataclass(slots=True)
class Observed:
    """What one command really did."""

    touched: set[str] = field(default_factory=set)
    programs: set[str] = field(default_factory=set)


def observe(command: str) -> Observed:
    """Run it in a throw-away view and read the trace."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        layers = f"{folder}/layers"
        inner = f"{SETUP} && strace -f -y -qq -s 400 -e trace={CALLS} -o /zz.trace bash -c {shlex.quote(command)}"
        steps = [
            f"mkdir {layers} && mount -t tmpfs none {layers} && cd {layers} && mkdir upper work root",
            "mount -t overlay overlay -o lowerdir=/,upperdir=upper,workdir=work root",
            "mount -t proc none root/proc && mount --rbind /dev root/dev && mount -t tmpfs none root/tmp",
            f"(timeout 20 chroot root bash -c {shlex.quote(inner)} > said 2>&1 < /dev/null; cat said >&2; cat upper/zz.trace)",
        ]
        script = " && ".join(steps)
        environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LC_ALL": "C.UTF-8"}
        done = subprocess.run(
            ["unshare", "--mount", "--pid", "--fork", "--propagation", "private", "bash", "-c", script],
            env=environment,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=60,
            check=False,
        )
    if not done.stdout:
        raise SystemExit(f"no trace for {command!r}: {done.stderr.strip() or 'is this root, and is strace there?'}")
    return read_trace(done.stdout)


def read_trace(text: str) -> Observed:
    """Successful changes of paths and program starts; a path without a directory is taken from the last `chdir`."""
    seen = Observed()
    directory = WORK
    for line in text.splitlines():
        match = _LINE.match(line)
        if match is None or int(match[3]) < 0:
            continue
        call, arguments = match[1], match[2]
        found = [
            os.path.normpath(os.path.join(base or other or directory, path)) for base, other, path in _PATH.findall(arguments)
        ]
        if call == "execve":
            seen.programs.add(os.path.basename(found[0]))
        elif call == "chdir":
            directory = found[0]
        elif call == "fchdir":
            directory = arguments.partition("<")[2].rstrip(">")
        elif call.startswith("open"):
            if re.search(r"O_WRONLY|O_RDWR|O_CREAT|O_TRUNC", arguments):
                seen.touched.update(found[:1])
        else:
            seen.touched.update(found[-1:] if "link" in call and not call.startswith("unlink") else found)
    seen.touched = {path for path in seen.touched if not path.startswith(("/dev/", "/proc/", "/tmp/sh-thd"))}
    return seen


def explanation(problem: str) -> str:
    """Why a disagreement is one, where that is known."""
    return next((reason for pattern, reason in EXPLAINED if re.search(pattern, problem)), "")


def compare(command: str) -> list[str]:
    """What was done and not foreseen, and what was foreseen and not done; empty when they agree."""
    place = Place(WORK, "/root", "root", {"HOME": "/root", "PATH": "/usr/bin:/bin"})
    findings = Judge().read(command, place)
    opaque = any(effect.kind in _OPAQUE for effect in findings.effects)
    paths = [e.subject for e in findings.effects if e.kind in (EffectKind.WRITE, EffectKind.DELETE, EffectKind.DEVICE)]
    if any(effect.kind is EffectKind.ACCOUNT for effect in findings.effects):
        paths += [f"/etc/{name}*" for name in ("passwd", "shadow", "group", "gshadow", "subuid", "subgid")]
    paths = [re.sub(r"\$\(mktemp[^)]*\)", "/tmp/tmp.*", path) for path in paths]
    fixed = [re.sub(r"[*?].*", "", path) for path in paths]
    seen = observe(command)

    def foreseen(path: str) -> bool:
        pairs = zip(fixed, paths, strict=True)
        return any(
            path == p or path.startswith(p.rstrip("/") + "/") or (p != whole and path.startswith(p)) for p, whole in pairs
        )

    named = {os.path.basename(name) for name in findings.executables} | {"bash"}
    problems = [] if opaque else [f"wrote {path}, not foreseen" for path in sorted(seen.touched) if not foreseen(path)]
    problems += [] if opaque else [f"ran {program}, not foreseen" for program in sorted(seen.programs - named)]
    for path, start in zip(paths, fixed, strict=True):
        if path == start and path.startswith("/") and not path.startswith(("/dev/", "/proc/")):
            problems += [] if any(p.startswith(start) for p in seen.touched) else [f"{path} foreseen, not touched"]
    return problems


def main() -> None:
    commands = [line.replace("⏎", "\n") for line in SAMPLE.read_text("utf-8").splitlines() if line and not line.startswith("#")]
    rows, agree, surprises = list[str](), 0, 0
    for command in commands:
        problems = compare(command)
        agree += not problems
        surprises += any("not foreseen" in problem and not explanation(problem) for problem in problems)
        told = "; ".join(f"{each} ({explanation(each) or 'unexplained'})" for each in problems)
        rows += [f"- `{' '.join(command.split())}`: {told}"] if problems else []
    head = f"{len(commands)} commands: {agree} agree in everything; {surprises} did what is neither foreseen nor explained."
    text = "\n".join([head, "", *rows])
    print(text)
    if "--write" in sys.argv[1:]:
        before, _, rest = DOCUMENT.read_text("utf-8").partition(BEGIN)
        after = rest.partition(END)[2]
        DOCUMENT.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}", "utf-8")


if __name__ == "__main__":
    main()
