"""What the shell costs: per command, per megabyte, in memory. Ratios travel, absolute figures do not.

Method: everything compared runs in the same minute on the same machine. Per command, one call of each way follows the
other, round after round; the floor is a kept bash on a pipe, and the difference to it (and the ratio to a new
`bash -c`) is taken round by round and its median printed, with the processor time of this process. Throughput reads a
file from the page cache with `cat`: through a bare pseudo-terminal read by a loop that throws it away, and through a
session with masking, transcript and head and tail. Memory is the growth of this process's peak in a process of its own.

    python benchmarks/shell.py [--megabytes 200] [--rounds 200]        (pexpect: pip install -e .[bench])
"""

from __future__ import annotations

import argparse
import itertools
import os
import pty
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from skillrun.events import ToolCall  # noqa: E402
from skillrun.looking.shell import LookingShell  # noqa: E402
from skillrun.policy.judge import Judge  # noqa: E402
from skillrun.ports import Command, Place, result_of  # noqa: E402
from skillrun.record.journal import Journal, RunFolder  # noqa: E402
from skillrun.run.calls.executor import Executor  # noqa: E402
from skillrun.run.unattended import Nobody  # noqa: E402
from skillrun.skills.skill import Skill  # noqa: E402
from skillrun.targets.local import LocalTarget  # noqa: E402


def timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def pexpect_shell() -> Any | None:
    """A bash under pexpect, without the pause pexpect makes before it types; None when it is not installed."""
    try:
        from pexpect import replwrap
    except ImportError:
        print("pexpect is left out: it is not installed (pip install -e .[bench])")
        return None
    shell = replwrap.bash()
    shell.child.delaybeforesend = None
    return shell


def whole_path(target: LocalTarget, folder: Path) -> Callable[[], object]:
    """A command as a run carries it out: judged, written to the journal and synced before it starts, and its end too."""
    skill = Skill("bench", "bench", "", "prompt", "")
    place = Place(cwd=str(folder), home=str(folder))
    executor = Executor(skill, target, Judge(), Nobody(), target.vault, place)
    run_folder = RunFolder(folder)
    journal = Journal(run_folder)
    numbers = itertools.count()

    def call() -> None:
        asked = ToolCall(f"c{next(numbers)}", "shell", {"command": "echo hi", "why": "to measure it"})
        stream = executor.carry_out(asked)
        while True:
            try:
                journal(next(stream))
            except StopIteration as end:
                if not end.value.ok:
                    raise SystemExit(f"the command was not carried out: {end.value}") from None
                return

    return call


def bare_bash() -> Callable[[], object]:
    """The floor: a bash that is told to echo on one pipe and answers on another."""
    bash = subprocess.Popen(["bash", "--noprofile", "--norc"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def call() -> None:
        assert bash.stdin is not None
        assert bash.stdout is not None
        bash.stdin.write(b"echo hi\n")
        bash.stdin.flush()
        bash.stdout.readline()

    return call


def per_command(target: LocalTarget, rounds: int, folder: Path) -> None:
    new, floor_name = "a new bash -c", "bash on a pipe, kept"
    ways: dict[str, Callable[[], object]] = {
        floor_name: bare_bash(),
        "skillrun session": lambda: result_of(target.run(Command("echo hi"))),
        "  + policy, synced journal": whole_path(target, folder),
        new: lambda: subprocess.run(["bash", "-c", "echo hi"], capture_output=True, check=True),
    }
    looking = LookingShell(target, str(folder))
    began = time.perf_counter()
    result_of(looking.run(Command("echo hi")))
    print(f"the first look, with what was still to start: {(time.perf_counter() - began) * 1e3:.0f} ms")
    ways["  in the shell that only looks"] = lambda: result_of(looking.run(Command("echo hi")))
    if (expect := pexpect_shell()) is not None:
        ways["pexpect, no delay"] = lambda: expect.run_command("echo hi")
    for way in ways.values():
        way()
    times: dict[str, list[float]] = {name: [] for name in ways}
    busy = dict.fromkeys(ways, 0.0)
    for _ in range(rounds):
        for name, way in ways.items():
            before = time.process_time()
            times[name].append(timed(way))
            busy[name] += time.process_time() - before
    looking.close()
    print(f"per command (`echo hi`), medians of {rounds} rounds:")
    for name, taken in times.items():
        over = statistics.median(a - b for a, b in zip(taken, times[floor_name], strict=True))
        ratio = statistics.median(a / b for a, b in zip(taken, times[new], strict=True))
        print(
            f"  {name:30} {statistics.median(taken) * 1e3:8.3f} ms   over the floor {over * 1e3:+8.3f} ms"
            f"   {ratio:6.2f} of {new}   own CPU {busy[name] / rounds * 1e3:6.3f} ms"
        )


def bare_terminal(file: str) -> None:
    pid, master = pty.fork()
    if pid == 0:
        os.execvp("cat", ["cat", file])
    while True:
        try:
            if not os.read(master, 65536):
                break
        except OSError:
            break
    os.close(master)
    os.waitpid(pid, 0)


def throughput(target: LocalTarget, megabytes: int) -> None:
    with tempfile.NamedTemporaryFile() as file:
        line = b"the quick brown fox compiles -O2 -Wall -c source/file_%06d.c -o build/file.o\n"
        while file.tell() < megabytes << 20:
            file.write(b"".join(line % number for number in range(10_000)))
        file.flush()
        size = file.tell() / 1e6
        ways: dict[str, Callable[[], object]] = {
            "cat | read (pipe)": lambda: subprocess.run(["cat", file.name], stdout=subprocess.PIPE, check=True),
            "cat on a bare terminal": lambda: bare_terminal(file.name),
            "skillrun session": lambda: result_of(target.run(Command(f"cat {file.name}"))),
        }
        if (expect := pexpect_shell()) is not None:
            small = f"head -c 2000000 {file.name}"
            taken = timed(lambda: expect.run_command(small, timeout=300))
            print(f"pexpect: {2 / taken:.1f} MB/s (2 MB, once; its buffer is searched anew with every read)")
        times: dict[str, list[float]] = {name: [] for name in ways}
        busy: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(5):
            for name, way in ways.items():
                before = time.process_time()
                times[name].append(timed(way))
                busy[name].append(time.process_time() - before)
        print(f"throughput of {size:.0f} MB, medians of 5 rounds:")
        floor = times["cat on a bare terminal"]
        for name, taken in times.items():
            ratio = statistics.median(b / a for a, b in zip(taken, floor, strict=True))
            print(
                f"  {name:24} {size / statistics.median(taken):8.0f} MB/s   {ratio:5.2f} of cat on a bare terminal"
                f"   reader's own CPU {statistics.median(busy[name]) / size * 1e3:6.1f} ms/MB"
            )


def memory(megabytes: int) -> None:
    """In a process of its own: the growth of the peak while so much output passes through."""
    with tempfile.TemporaryDirectory() as folder:
        target = LocalTarget(Path(folder))
        target.vault.add("TOKEN", "not-in-the-output")
        result_of(target.run(Command("echo warm; sleep 0.5")))
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        result = result_of(
            target.run(Command(f"yes 'a line of a very long build log, sixty-four bytes with its end' | head -c {megabytes}M"))
        )
        after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        target.close()
        print(f"memory for {result.output_bytes / 1e6:.0f} MB of output: {(after - before) / 1024:+.1f} MB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--memory", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.memory:
        memory(options.memory)
        return
    with tempfile.TemporaryDirectory() as folder:
        target = LocalTarget(Path(folder))
        target.vault.add("TOKEN", "not-in-the-output")
        per_command(target, options.rounds, Path(folder))
        throughput(target, options.megabytes)
        target.close()
    sys.stdout.flush()
    subprocess.run([sys.executable, __file__, "--memory", "1000"], check=True)


if __name__ == "__main__":
    main()
