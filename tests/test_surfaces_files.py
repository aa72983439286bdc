import io
import json
import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from skillrun.events import Event, Outcome, RunEnded, Started, ToolCall
from skillrun.record.report import fold
from skillrun.skills.skill import Check, Skill, SkillCommand, Step
from skillrun.surfaces.cast import cast
from skillrun.surfaces.github import PER_KIND, Grouped, Stream, annotate, commands, summarise
from skillrun.surfaces.html import page, policy
from skillrun.surfaces.junit import junit
from skillrun.surfaces.markdown import code, fence, markdown, plain
from skillrun.surfaces.plain import Plain
from skillrun.text.escape import HIDDEN
from tests.runs import HOSTILE, INSTALL, call, ended, good, hostile, refused, started


def failing() -> list[Event]:
    """A run whose one command fails, and its check with it."""
    return [
        started(),
        *call(1, "make install", step=1, effects=INSTALL, output="no rule to make target\n", exit_code=2),
        *ended(Outcome.CHECKS_FAILED, 3, ok=False),
    ]


# --- JUnit --------------------------------------------------------------------------------------


def cases(events: list[Event]) -> dict[str, ET.Element]:
    """The test cases of a run's JUnit document by name."""
    return {case.get("name", ""): case for case in ET.fromstring(junit(fold(events))).iter("testcase")}


def test_junit_has_a_case_per_call_and_check() -> None:
    """A run that came out well has no failure: what was repaired on the way is told in the case's own words."""
    found = cases(good())
    assert list(found) == [
        "call 1: cat /etc/os-release",
        "step 1, call 2: apt-get install -y jq",
        "step 1, call 3: apt-get update && apt-get install -y jq",
        "jq --version",
        "the run came out well",
    ]
    root = ET.fromstring(junit(fold(good())))
    assert (root.get("tests"), root.get("failures"), root.get("errors")) == ("5", "0", "0")
    repaired = found["step 1, call 2: apt-get install -y jq"]
    assert "failed with exit code 100" in (repaired.findtext("system-err") or "")
    assert "Unable to locate" in (repaired.findtext("system-out") or "")


def test_junit_fails_what_failed() -> None:
    """In a run that did not come out well the failed call, the failed check and the outcome are failures."""
    found = cases(failing())
    assert [name for name, case in found.items() if case.find("failure") is not None] == [
        "step 1, call 1: make install",
        "jq --version",
        "the run came out well",
    ]


def test_junit_tells_a_denial_and_an_unfinished_run() -> None:
    """A denied call is a failure of kind `denied`; a run without an end is an error, never a pass."""
    denied = cases(refused())["call 2: echo 'evil' >> ~/.bashrc"].find("failure")
    assert denied is not None
    assert denied.get("type") == "denied"
    assert "more than it declares" in (denied.get("message") or "")
    assert cases([started()])["the run came out well"].find("error") is not None


JUNIT = {
    "testsuites": ({"testsuite"}, {"name", "time", "tests", "failures", "errors"}, set()),
    "testsuite": (
        {"testsuite", "properties", "testcase", "system-out", "system-err"},
        {"name", "tests", "failures", "errors", "group", "time", "skipped", "timestamp", "hostname", "id", "package", "file"},
        {"name", "tests", "failures", "errors"},
    ),
    "testcase": ({"skipped", "error", "failure", "system-out", "system-err"}, {"name", "time", "classname", "group"}, {"name"}),
    **{tag: (set(), {"type", "message"}, set()) for tag in ("failure", "error", "skipped")},
    **{tag: (set(), set(), set()) for tag in ("system-out", "system-err")},
}
"""Element -> children, attributes, and the attributes it must have, after the junit-10.xsd of Jenkins' xUnit plugin."""


@pytest.mark.parametrize("events", [good(), failing(), refused(), hostile(), good()[:6], []])
def test_junit_fits_the_schema(events: list[Event]) -> None:
    """Every stage of a run has only the elements and attributes the schema has, whole seconds with a point, and true counts."""
    root = ET.fromstring(junit(fold(events)))
    assert root.tag == "testsuites"
    for node in root.iter():
        children, attributes, needed = JUNIT[node.tag]
        assert {child.tag for child in node} <= children
        assert needed <= set(node.attrib) <= attributes
        assert re.fullmatch(r"\d*(\.\d*)?", node.get("time", "0"))
    for suite in root:
        assert int(suite.get("tests") or -1) == len(suite.findall("testcase"))
        assert int(suite.get("failures") or 0) == len(suite.findall("testcase/failure"))


def test_junit_survives_hostile_text() -> None:
    """Control characters and markup leave the document well formed."""
    assert len(cases(hostile())) == 3


# --- Markdown -----------------------------------------------------------------------------------


def rendered(text: str) -> str:
    """The HTML a CommonMark renderer with tables makes of it."""
    return MarkdownIt("commonmark").enable("table").render(text)


def test_markdown_tells_outcome_checks_changes_and_steps() -> None:
    """The summary has the outcome first, then checks, changes, effects, steps with how each ended."""
    text = rendered(markdown(fold(good())))
    order = [
        text.index(words) for words in ("Verified", "Checks: 1 of 1", "Changes (recorded)", "What its commands do", "Steps")
    ]
    assert order == sorted(order)
    assert "2 packages (jq, libjq1)" in text
    assert "<td>failed with exit code 100 in 0.2 s</td>" in text
    assert text.count("<tr>") >= 6


def test_markdown_folds_the_output_of_what_failed() -> None:
    """The output of a failed call is there, folded."""
    assert "no rule to make target" in markdown(fold(failing())).split("<details>")[1]


@pytest.mark.parametrize(
    "text",
    [
        HOSTILE,
        "`` ` ```",
        "](http://evil.invalid) ![x](y) <img src=x onerror=alert(1)> | a | b |",
        "# not a heading",
        "```\n# out of the fence\n```",
    ],
)
def test_markdown_cannot_be_injected(text: str) -> None:
    """Whatever the text: no image, link, script, heading or table cell of its own comes out."""
    for source in (plain(text), code(text), "\n".join(fence(text)), f"| {code(text, cell=True)} |\n|---|\n| {plain(text)} |"):
        html = rendered(source)
        assert not re.search(r"<(img|a|script|h\d)\b", html), html
        assert html.count("<td>") + html.count("<th>") in (0, 2)


def test_plain_markdown_renders_as_the_text() -> None:
    """Escaping is invisible once rendered."""
    assert rendered(plain("a*b_c [x](y) 1. #2 <b> & `c` ~/x")) == "<p>a*b_c [x](y) 1. #2 &lt;b&gt; &amp; `c` ~/x</p>\n"
    assert "@<!-- -->everyone" in plain("@everyone")


# --- GitHub -------------------------------------------------------------------------------------

SKILL = Skill(
    "jq", "jq", "", "skill", "",
    steps=(Step(1, "Install", "", 12, (SkillCommand("make install", 14),)),),
    checks=(Check("jq --version", line=30),),
)  # fmt: skip


def test_annotations_point_at_the_skills_own_lines() -> None:
    """A failed check is an error on the check's line, a failed command on the command's."""
    found = {one.title: one for one in annotate(fold(failing()), SKILL, "skills/jq/SKILL.md")}
    assert found["Check failed"].line == 30
    assert found["Command failed"].line == 14
    assert (
        found["Check failed"].command().startswith("::error file=skills/jq/SKILL.md,line=30,title=Check failed::jq --version")
    )


def test_a_good_run_warns_at_most() -> None:
    """What was repaired is a warning; a denial is an error; an unexplained bad end is one too."""
    assert [one.level for one in annotate(fold(good()))] == ["warning"]
    assert "Not allowed" in [one.title for one in annotate(fold(refused()))]
    assert [one.level for one in annotate(fold([started(), RunEnded(Outcome.BUDGET, 5, "out of turns")]))] == ["error"]


def test_at_most_ten_annotations_of_a_kind() -> None:
    """GitHub drops more than ten; we say how many were left out instead."""
    events = [started()]
    for number in range(25):
        events += call(number, f"false {number}", effects=INSTALL, exit_code=1)
    lines = commands(annotate(fold([*events, *ended(Outcome.CHECKS_FAILED, 3, ok=False)])))
    assert sum(line.startswith("::error") for line in lines) == PER_KIND
    assert lines[-1] == "16 more of level error are in the job summary"


def test_annotations_cannot_be_forged() -> None:
    """Line ends, colons and commas in text from a run stay inside their annotation."""
    for line in commands(annotate(fold(hostile()))):
        assert "\n" not in line
        assert len(re.findall(r"^::", line)) == 1


def runner(log: str) -> list[str]:
    """The workflow commands GitHub's runner would obey in a log (after its ActionCommandManager)."""
    obeyed, stop = [], ""
    for line in log.splitlines():
        text = line.lstrip()
        if stop:
            if text == f"::{stop}::":
                stop = ""
            continue
        if text.startswith("::stop-commands::"):
            stop = text.removeprefix("::stop-commands::")
        elif text.startswith("::") or "##[" in text:
            obeyed.append(text)
    return obeyed


def test_the_log_is_grouped_and_obeys_only_us() -> None:
    """Hostile output, however it begins, is never obeyed; each call is one group."""
    target = io.StringIO()
    stream = Stream(target)
    surface = Grouped(stream, Plain(stream, heartbeat_s=0))
    events = [event for event in hostile() if not isinstance(event, RunEnded)]
    for event in [*events, *call(2, "::set-env name=x::y\n##[error]no", output="::error::x\n##[add-path]/x\n", exit_code=1)]:
        surface(event)
    surface(Started(ToolCall("c9", "shell", {"command": "killed in the middle"})))
    surface.close()
    obeyed = runner(target.getvalue())
    assert [line.partition("::")[2].partition("::")[0] for line in obeyed] == ["group", "endgroup"] * 3
    assert "at the start" in target.getvalue()


def test_the_job_summary_stays_below_the_limit(tmp_path: Path) -> None:
    """A summary that GitHub would refuse is cut at a character and says so."""
    path = tmp_path / "summary"
    path.write_text("before\n")
    summarise("ä" * 1_000_000, path)
    data = path.read_bytes()
    assert len(data) <= 1024 * 1024
    assert data.decode().startswith("before\nää")
    assert "shortened" in data.decode()[-60:]


# --- asciicast ----------------------------------------------------------------------------------


def test_cast_is_a_recording_one_can_play() -> None:
    """A header of version 3, then [interval, kind, text]; commands are typed, outputs are there, an end code closes it."""
    lines = [json.loads(line) for line in cast(fold(good())).splitlines()]
    assert lines[0]["version"] == 3
    assert lines[0]["term"] == {"cols": 100, "rows": 30, "type": "xterm-256color"}
    assert all(after >= 0 and kind in "ox" and isinstance(text, str) for after, kind, text in lines[1:])
    text = "".join(line[2] for line in lines[1:] if line[1] == "o")
    assert "apt-get install -y jq" in text
    assert "Unable to locate package jq\x1b[0m\r\n" in text
    assert lines[-1][1:] == ["x", "0"]


def test_cast_does_nothing_to_a_terminal() -> None:
    """Of all escapes only colours are in a recording."""
    for line in cast(fold(hostile())).splitlines()[1:]:
        text = re.sub(r"\x1b\[[0-9;]*m", "", json.loads(line)[2]).replace("\r\n", "\n")
        assert HIDDEN.search(text) is None


# --- HTML ---------------------------------------------------------------------------------------


class Tags(HTMLParser):
    """Every element of a page with its attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note one."""
        self.found.append((tag, dict(attrs)))


def test_html_of_hostile_text_has_no_markup_of_its_own() -> None:
    """One style, one script, no handler, no link out: whatever the run's text says."""
    text = page(fold(hostile()))
    tags = Tags(text).found
    assert [tag for tag, _ in tags].count("script") == 1
    assert [tag for tag, _ in tags].count("style") == 1
    assert not [name for _, attributes in tags for name in attributes if name.startswith("on") or name == "style"]
    assert {a.get("href") for _, a in tags if "href" in a} == {"#timeline"}
    assert not [a for _, a in tags if "src" in a]
    assert not HIDDEN.search(text.replace("\n", ""))
    assert "&lt;script&gt;alert(1)" in text
    assert "49" not in text.split("{{")[-1][:6]


def test_html_allows_exactly_its_own_style_and_script() -> None:
    """The content-security policy names them by hash and everything else is `none`."""
    text = page(fold(good()))
    style = text.split("<style>")[1].split("</style>")[0]
    script = text.split("<script>")[1].split("</script>")[0]
    given = Tags(text).found[3][1]["content"]
    assert given == policy(style, script)
    assert given.startswith("default-src 'none';")
    assert "unsafe" not in given


def test_html_of_every_stage_of_a_run() -> None:
    """A page can be made of nothing at all and of any beginning of a run."""
    for events in (good(), refused(), hostile(), failing()):
        for end in range(len(events) + 1):
            assert "</html>" in page(fold(events[:end]))


@pytest.mark.parametrize(
    "changes", [{}, {"files": 7}, {"packages": "jq"}, {"counts": []}, {"groups": [None, 3, "x"]}, {"x": {"y": [1]}}]
)
def test_html_of_changes_in_any_shape(changes: dict[str, object]) -> None:
    """Changes that are not as described are shown as they are, or not at all; the page is made in any case."""
    from skillrun.events import Changed

    assert "</html>" in page(fold([started(), Changed(changes, "recorded")]))
