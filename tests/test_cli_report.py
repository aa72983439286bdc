import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from skillrun.events import Event
from skillrun.record.journal import to_json
from tests.runs import INSTALL, call, ended, good, refused, started

ROOT = Path(__file__).parents[1]


def report(*args: str, state: Path, stdin: str = "", cwd: Path = ROOT, **environment: str) -> subprocess.CompletedProcess[str]:
    """`skillrun report ...` in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "skillrun", "report", *args],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), "XDG_STATE_HOME": str(state), **environment},
    )


def lines(events: list[Event]) -> str:
    """Events as `--json` prints them."""
    return "".join(json.dumps(to_json(event, "2026-01-01T00:00:00+00:00")) + "\n" for event in events)


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    """A run on disk, in the state directory `tmp_path`."""
    folder = tmp_path / "skillrun" / "runs" / "20260101-000000-jq-abcd"
    (folder / "outputs").mkdir(parents=True)
    (folder / "journal.jsonl").write_text(lines(good()))
    return folder


def test_a_run_is_told_as_text(run_folder: Path, tmp_path: Path) -> None:
    """By id, by a part of it, by `last`, by its folder: the same plain text, without a single escape in a pipe."""
    told = {report(word, state=tmp_path).stdout for word in (run_folder.name, "jq-abcd", "last", str(run_folder))}
    assert len(told) == 1
    text = told.pop()
    assert "Verified · 3.5 s" in text
    assert "\x1b" not in text


def test_every_form_in_one_call(run_folder: Path, tmp_path: Path) -> None:
    """HTML, JUnit, Markdown and the recording are written to the files that were named."""
    names = {form: tmp_path / f"out.{form}" for form in ("html", "junit", "markdown", "cast")}
    done = report("last", *(part for form, path in names.items() for part in (f"--{form}", str(path))), state=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert "</html>" in names["html"].read_text()
    assert ET.parse(names["junit"]).getroot().get("failures") == "0"
    assert names["markdown"].read_text().startswith("## ✅ jq: Verified")
    assert json.loads(names["cast"].read_text().splitlines()[0])["version"] == 3


def test_json_is_the_whole_report(run_folder: Path, tmp_path: Path) -> None:
    """`--json` is one object of the envelope."""
    data = json.loads(report("last", "--json", state=tmp_path).stdout)
    assert data["schema"] == 1
    assert data["outcome"] == "verified"
    assert data["began"].startswith("2026-01-01")


def test_events_from_a_file_and_from_standard_input(tmp_path: Path) -> None:
    """What `install --json` printed can be reported anywhere, a torn last line included."""
    path = tmp_path / "events.ndjson"
    path.write_text(lines(good()) + '{"schema": 1, "type": "Fini')
    assert "Verified" in report(str(path), state=tmp_path).stdout
    assert "Verified" in report("-", state=tmp_path, stdin=lines(good())).stdout


def test_a_run_without_an_end_says_so(tmp_path: Path) -> None:
    """One that goes on, or was killed, ends its report with neither success nor failure."""
    told = report("-", state=tmp_path, stdin=lines(good()[:-1])).stdout
    assert told.splitlines()[-1].startswith("Unfinished: no end is on record. It may still be going on")
    assert "Verified" not in told


def test_whole_outputs_are_read_from_the_run_folder_only(run_folder: Path, tmp_path: Path) -> None:
    """Where a result is shortened the page has the whole output; a path out of the run folder is not followed."""
    secret = tmp_path / "secret"
    secret.write_text("not for a report\n")
    (run_folder / "outputs" / "3").write_text("the whole story\n" * 3)
    events = []
    for event in good():
        data = to_json(event)
        if data["type"] == "Finished":
            name = {"c1": str(secret), "c3": str(run_folder / "outputs" / "3")}.get(data["call"]["id"], "")
            data["result"] |= {"output_file": name, "output_bytes": 10_000}
        events.append(data)
    (run_folder / "journal.jsonl").write_text("".join(json.dumps(data) + "\n" for data in events))
    page = report("last", "--html", "-", state=tmp_path).stdout
    assert page.count("the whole story") == 3
    assert "not for a report" not in page


def test_a_page_has_a_name_where_none_is_given(run_folder: Path, tmp_path: Path) -> None:
    """`report last --html`: the run's own name in the working directory, which is said."""
    done = report("last", "--html", state=tmp_path, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (page,) = tmp_path.glob("*.html")
    assert page.name in done.stdout + done.stderr
    assert page.read_text().startswith("<!doctype html>")


@pytest.mark.parametrize("word", ["nothing", "/no/such/file", "last"])
def test_an_unknown_run_is_said_in_two_lines(word: str, tmp_path: Path) -> None:
    """What is wrong and what to do, exit code 2, no traceback."""
    done = report(word, state=tmp_path)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 2
    assert "->" in done.stderr


def test_a_file_that_is_no_journal_is_named_with_its_line(tmp_path: Path) -> None:
    """The line that cannot be read is named."""
    path = tmp_path / "events.ndjson"
    path.write_text(lines(good()[:1]) + "hello\n" + lines(good()[1:]))
    done = report(str(path), state=tmp_path)
    assert done.returncode == 2
    assert "events.ndjson:2:" in done.stderr


def test_drift_fails_only_for_what_is_undeclared(tmp_path: Path) -> None:
    """Against an earlier report: new undeclared kinds exit 4 and are named; the same effects exit 0."""
    base, now = tmp_path / "base.ndjson", tmp_path / "now.ndjson"
    base.write_text(lines([started(), *call(1, "cat /etc/os-release"), *ended()]))
    now.write_text(lines([started(), *call(1, "apt-get install -y jq", effects=INSTALL), *ended()]))
    before = tmp_path / "base.json"
    before.write_text(report(str(base), "--json", state=tmp_path).stdout)
    for earlier in (base, before):
        done = report(str(now), "--against", str(earlier), state=tmp_path)
        assert done.returncode == 4
        assert "now also installs jq (a kind of effect the skill does not declare)" in done.stderr
    assert report(str(now), "--against", str(now), state=tmp_path).returncode == 0


def test_github_gets_annotations_and_a_summary(tmp_path: Path) -> None:
    """Annotations on standard output, Markdown in the job's summary."""
    path, summary = tmp_path / "events.ndjson", tmp_path / "summary.md"
    path.write_text(lines(refused()))
    done = report(str(path), "--github", state=tmp_path, GITHUB_STEP_SUMMARY=str(summary))
    assert done.stdout.startswith("::error title=")
    assert "## ❌ jq: Denied" in summary.read_text()
