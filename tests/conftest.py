"""What every test takes for granted of the process it runs in, whoever started it."""

from __future__ import annotations

import atexit
import gc
import os
import resource
import shutil
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic  # a test may set the clock of the module

import pytest

from skillrun.sandbox.base import cache_directory

for _number, _handler in (
    (signal.SIGINT, signal.default_int_handler),
    (signal.SIGHUP, signal.SIG_DFL),
    (signal.SIGQUIT, signal.SIG_DFL),
):
    # In a shell's background or under nohup these are ignored, by every child too, and nothing could be interrupted.
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, _handler)

_SPEAKING = (
    "COLUMNS",
    "LINES",
    "NO_COLOR",
    "FORCE_COLOR",
    "LANGUAGE",
    "EDITOR",
    "VISUAL",
    "PAGER",
    "PYTHONWARNINGS",
    "GITHUB_ACTIONS",
)
_KEPT = ("SKILLRUN_MACHINES", "SKILLRUN_MIRROR_DEBIAN", "SKILLRUN_MIRROR_UBUNTU")
for _name in [*os.environ]:  # a person's terminal, habits and keys are none of a test's
    if _name in _SPEAKING or (_name.startswith(("ANTHROPIC_", "SKILLRUN_")) and _name not in _KEPT):
        del os.environ[_name]

_PLACES = os.environ.get("PATH", os.defpath).split(os.pathsep)
_DIRECT = os.pathsep.join(place for place in _PLACES if os.path.basename(place) != "shims")
if shutil.which("python3", path=_DIRECT):  # a version manager's stand-in starts a script each time a program is asked for
    os.environ["PATH"] = _DIRECT

_TOLD = (".npmrc", ".config/pip/pip.conf", ".pip/pip.conf", ".gitconfig")
_HOME = Path.home() / f"skillrun-tests-{os.getpid()}"
if "PYTEST_XDIST_WORKER" not in os.environ and os.access(Path.home(), os.W_OK):
    # What this person's shells do when they start is no test's: a version manager's takes a tenth of a second of each, and a
    # lock that a view may find and wait for. Machines that were built are kept, and the tools are told of the same registries.
    os.environ["SKILLRUN_MACHINES"] = str(cache_directory())
    for _file in (Path.home() / name for name in _TOLD):
        if _file.is_file():
            (_HOME / _file.relative_to(Path.home())).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(_file, _HOME / _file.relative_to(Path.home()))
    (_HOME / ".cache").mkdir(parents=True, exist_ok=True)
    os.environ["HOME"] = str(_HOME)
    atexit.register(shutil.rmtree, _HOME, ignore_errors=True)

MOST_S = 60.0
"""Processor seconds that a test of the gate may take with all its children: twice what the longest takes on a bare machine."""
MOST_ALL_S = 720.0
"""Processor seconds that they may take together: what two cores have in the six minutes that the gate is to take at most."""


def _used() -> float:
    """Processor seconds of this process and of the children it has waited for."""
    own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


@contextmanager
def _counted(item: pytest.Item) -> Iterator[Callable[[], float]]:
    """Adds up what the phases of a test take; gives a function that tells this phase's processor seconds so far.

    A child of an earlier test may be waited for only now: what cannot have happened meanwhile is not counted.
    """
    used, began = _used(), monotonic()

    def taken() -> float:
        return min(_used() - used, (monotonic() - began) * (os.cpu_count() or 1))

    try:
        yield taken
    finally:
        item.user_properties.append(("processor_s", round(taken(), 4)))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Iterator[None]:
    """Skips what needs root, and counts, though to no test's fault: whichever comes first builds what all of them share."""
    if os.geteuid() != 0 and item.get_closest_marker("root"):
        pytest.skip("needs to be root")
    with _counted(item):
        yield


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Fails a test that has become too dear for the gate. Other work on the machine hardly changes processor time."""
    with _counted(item) as taken:
        yield
        if taken() > MOST_S and "CI" in os.environ and not item.get_closest_marker("slow"):
            told = f"{taken():.0f} s of processor time, more than {MOST_S:.0f}"
            pytest.fail(f"{told}: make it quicker, or mark it slow and keep its promise with a quicker test beside it")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Iterator[None]:
    """Counted too. A library that is still being imported beside a test would meet the next one's compiler (gh-106905)."""
    with _counted(item):
        yield
        for thread in threading.enumerate():
            if thread.name.startswith("import-"):
                thread.join(60)


_took: dict[str, float] = {}


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Collects what each test took, wherever it ran."""
    if report.when == "teardown":
        _took[report.nodeid] = sum(float(str(value)) for name, value in report.user_properties if name == "processor_s")


def _too_dear() -> bool:
    return sum(_took.values()) > MOST_ALL_S and "CI" in os.environ


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fails the gate as a whole when its tests have become too dear together."""
    if _too_dear():
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Says what the tests cost together, and which cost most."""
    if len(_took) > 1000:
        dearest = ", ".join(f"{name.rpartition('::')[2]} {_took[name]:.0f}" for name in sorted(_took, key=_took.get)[:-6:-1])  # type: ignore[arg-type]
        said = "more than" if _too_dear() else "of"
        terminalreporter.write_line(
            f"processor time of the tests: {sum(_took.values()):.0f} s {said} {MOST_ALL_S:.0f}; {dearest}"
        )


def pytest_collection_finish() -> None:
    """Takes what was collected out of every later search for garbage: it stays until the end, and is most of what there is."""
    if "hypothesis" in sys.modules:  # which, when it comes, looks for whoever holds what it is given
        gc.collect()
        gc.freeze()
