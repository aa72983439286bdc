"""A throw-away machine's way out: user-mode networking, so that it can fetch and nobody can reach it."""

from __future__ import annotations

import os
import shutil
import subprocess
import time

ADDRESS = "10.0.2.3"
"""The name server slirp4netns answers on inside (slirp4netns(1))."""


class NoNetwork(Exception):
    """The machine cannot be given a network; the message says what to install."""


class UserNetwork:
    """slirp4netns attached to a network namespace. The outside's own loopback stays out of reach."""

    def __init__(self, pid: int, outside: int | None = None) -> None:
        """Attach to the network namespace of a process. Raises NoNetwork.

        `outside`: a network namespace (descriptor) that its packets come out in, with no name server of slirp4netns's own;
        this process's, if none is given.
        """
        program = shutil.which("slirp4netns")
        if program is None:
            raise NoNetwork("slirp4netns is not installed (Debian package slirp4netns)")
        ready, theirs = os.pipe()
        # It ends when our side of this pipe closes: however this process ends, nothing of it stays behind.
        ended, self._alive = os.pipe()
        words = [program, "--configure", "--mtu=1400", "--disable-host-loopback"]
        files = [theirs, ended]
        if outside is not None:
            words = ["nsenter", f"--net=/proc/self/fd/{outside}", *words, "--disable-dns"]
            files.append(outside)
        words += [f"--ready-fd={theirs}", f"--exit-fd={ended}", str(pid), "tap0"]
        self._process = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            pass_fds=files,
            start_new_session=True,  # Ctrl-C is for us to hear; a machine must not lose its network before
        )
        os.close(theirs)
        os.close(ended)
        try:
            if os.read(ready, 1) != b"1":
                error = self._process.stderr.read().decode("utf-8", "replace").strip() if self._process.stderr else ""
                self.close()
                raise NoNetwork(f"slirp4netns ended: {error.splitlines()[-1] if error else 'no reason given'}")
        finally:
            os.close(ready)

    def close(self) -> None:
        """End it; the machine is cut off. Safe to call twice."""
        if self._alive >= 0:
            os.close(self._alive)
            self._alive = -1
        if self._process.poll() is None:
            self._process.terminate()
            deadline = time.monotonic() + 2
            while self._process.poll() is None and time.monotonic() < deadline:
                time.sleep(0.01)
            if self._process.poll() is None:
                self._process.kill()
        self._process.wait()
        if self._process.stderr:
            self._process.stderr.close()
