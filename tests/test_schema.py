import io
import json

import jsonschema
import pytest

from skillrun.events import Answered, Asked, Event, Said, State
from skillrun.record.journal import to_json
from skillrun.record.schema import build, shipped
from skillrun.surfaces.jsonl import JsonLines
from tests.runs import good, hostile, refused

CHECKER = jsonschema.Draft202012Validator(shipped())


def test_the_shipped_schema_is_what_the_vocabulary_says() -> None:
    """Whoever changes the events changes the schema: `python -m skillrun.record > skillrun/record/events-1.schema.json`."""
    assert shipped() == build()
    jsonschema.Draft202012Validator.check_schema(shipped())


@pytest.mark.parametrize("events", [good(), refused(), hostile(), [Said("x"), Asked("?", ("a",)), Answered("a")]])
def test_every_line_of_a_run_fits_the_schema(events: list[Event]) -> None:
    """What `--json` prints is one event of the published schema on each line, in ASCII."""
    stream = io.StringIO()
    surface = JsonLines(stream)
    for event in events:
        surface(event)
    surface.close()
    lines = stream.getvalue().splitlines()
    assert len(lines) == len(events)
    assert stream.getvalue().isascii()
    for line in lines:
        CHECKER.validate(json.loads(line))


def test_the_schema_refuses_what_is_no_event() -> None:
    """An unknown type, a missing field, another version or a state that does not exist is not an event."""
    line = to_json(good()[4])
    CHECKER.validate(line)
    for wrong in (
        {**line, "type": "Nothing"},
        {**line, "schema": 2},
        {key: value for key, value in line.items() if key != "call_id"},
        {**to_json(good()[5]), "result": {"state": "finished"}},
        [],
    ):
        assert not CHECKER.is_valid(wrong), wrong
    assert State.EXITED in json.dumps(shipped())
