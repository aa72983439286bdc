"""Which surface a run is shown on: the live screen on a capable terminal, groups in a GitHub log, else plain lines."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, TextIO

from skillrun.surfaces.colour import wanted
from skillrun.surfaces.plain import Plain
from skillrun.text.folding import width_of

if TYPE_CHECKING:
    from skillrun.surfaces.github import Grouped
    from skillrun.surfaces.live import Live


def open_screen(
    stream: TextIO,
    total_steps: Callable[[], int] = lambda: 0,
    flag: str = "auto",
    environment: Mapping[str, str] = os.environ,
) -> Live | Plain | Grouped:
    """The surface for this stream; rich is loaded only for a terminal.

    `total_steps` is asked when a step begins; `flag` is the `--color` option.
    """
    on_terminal = stream.isatty()
    colour = wanted(flag, environment, on_terminal)
    if on_terminal and environment.get("TERM", "") not in ("", "dumb") and not environment.get("CI"):
        from skillrun.surfaces.live import Live, console

        return Live(console(stream, colour), total_steps)
    if environment.get("GITHUB_ACTIONS") == "true" and not on_terminal:
        from skillrun.surfaces.github import Grouped, Stream

        log = Stream(stream)
        return Grouped(log, Plain(log, total_steps, colour=colour))
    return Plain(stream, total_steps, colour=colour, columns=width_of(stream))
