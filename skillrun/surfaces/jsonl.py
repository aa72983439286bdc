"""Events as JSON lines, for programs: what `--json` prints. The schema is `skillrun/record/events-1.schema.json`."""

from __future__ import annotations

import datetime
import json
from typing import TextIO

from skillrun.events import Event
from skillrun.record.journal import to_json


class JsonLines:
    """Writes each event as one line, at once, with the time it was written. Raises OSError when the reader is gone."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __call__(self, event: Event) -> None:
        """Write one event."""
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
        self._stream.write(json.dumps(to_json(event, now), separators=(",", ":")) + "\n")
        self._stream.flush()

    def close(self) -> None:
        """Nothing is held back, so nothing is left to do."""
