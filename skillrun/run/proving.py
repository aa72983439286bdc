"""While a person looks at a preview, its plan is proven in the background, in views of the same machine."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys

from skillrun.record.journal import RunFolder

BUDGET_S = 60.0
"""How long it looks for a smaller plan; the question is not held up by it."""
ENDS_S = 5.0
"""How long it is given to clean up once the question is answered."""


class BackgroundProof:
    """`skillrun plan RUN --prove` as a process beside the question, from the beginning of a `with` to its end.

    What it proves lies in the run folder as `plan.toml`. A machine that is about to change proves nothing more, so it is
    ended before a commit; nobody waits for it, and whatever it cannot do it leaves undone.
    """

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> BackgroundProof:
        argv = [sys.executable, "-m", "skillrun", "plan", self._folder.id, "--prove", "--budget", str(BUDGET_S)]
        argv += ["-o", str(self._folder.path / "plan.toml")]
        nothing = subprocess.DEVNULL
        with contextlib.suppress(OSError):
            self._process = subprocess.Popen(
                argv, stdin=nothing, stdout=nothing, stderr=nothing, start_new_session=True, preexec_fn=_lower
            )
        return self

    def __exit__(self, *_: object) -> None:
        process, self._process = self._process, None
        if process is None or process.poll() is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGINT)
        try:
            process.wait(ENDS_S)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _lower() -> None:
    os.nice(10)
