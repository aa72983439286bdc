"""Programs in the background of another machine: each on a terminal of its own, with a thread that writes down what it says."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

from skillrun.events import Result, State
from skillrun.fleet.shell import OnceShell
from skillrun.fleet.unreachable import Unreachable
from skillrun.pty.output.transcript import Transcript

FIRST_LOOK_S = 1.5
"""How long one waits for the first words of a job, or for its early end."""


class Job:
    """One program. It ends with the session: what is to stay must be started so that it does (a service)."""

    def __init__(self, name: str, shell: OnceShell, transcript: Transcript) -> None:
        self.name, self._shell, self._transcript = name, shell, transcript
        self._began = time.monotonic()
        self._lock = threading.Lock()
        self._heard = threading.Event()
        threading.Thread(target=self._follow, name=f"job {name}", daemon=True).start()

    def _follow(self) -> None:
        while not self._shell.dead:
            try:
                data = self._shell.read()
            except (Unreachable, OSError, ValueError):  # lost, or closed under our hands
                self._shell.dead = True
                break
            with self._lock:
                self._transcript.feed(data)
            self._heard.set()
        self._heard.set()

    def first_look(self) -> Result:
        """How it stands after its first words."""
        self._heard.wait(FIRST_LOOK_S)
        return self.result()

    def result(self) -> Result:
        """What it wrote since it was last asked about."""
        with self._lock:
            self._transcript.settle()
            output, _ = self._transcript.part()
            total, path = self._transcript.total, self._transcript.path
        report = self._shell.report
        ended = Result(State.EXITED, exit_code=report.exit_code) if report is not None else Result(State.BACKGROUND)
        spent = round(time.monotonic() - self._began, 4)
        file = str(path) if self._transcript.on_disk else ""
        return replace(ended, output=output, output_bytes=total, output_file=file, duration_s=spent, job=self.name)

    def end(self) -> bool:
        """Hang up on it; was it still at work?"""
        going = not self._shell.dead
        self._shell.close()
        with self._lock:
            self._transcript.close()
        return going
