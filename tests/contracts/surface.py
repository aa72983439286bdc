"""What every Surface promises. A test class that offers `surface` and inherits from this puts one through it."""

from __future__ import annotations

from skillrun.ports import Surface
from tests import runs


class SurfaceContract:
    """The promises. `surface` is a fixture of the class that inherits."""

    def test_it_takes_every_run(self, surface: Surface) -> None:
        """Good, refused and hostile runs are shown whole, one after another."""
        for run in (runs.good(), runs.refused(), runs.hostile()):
            for event in run:
                surface(event)
        surface.close()

    def test_it_can_be_closed_at_any_moment_and_again(self, surface: Surface) -> None:
        """A run may end before its first event, and whoever closes need not know whether it is closed."""
        surface(runs.good()[0])
        surface.close()
        surface.close()
