"""Steps: what a document tells to do, in order, with the machines each command is meant for and its alternatives."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace

from skillrun.skills.parser import phrases
from skillrun.skills.parser.blocks import Block
from skillrun.skills.parser.labels import Label, both, manager_of, plain, read_label
from skillrun.skills.parser.outline import Part, kind_of
from skillrun.skills.parser.snippets import BUILDS, CHANGES, ENDLESS, Snippet, installs, is_call, is_command, is_shell, snippets
from skillrun.skills.skill import When


@dataclass(slots=True)
class StepDraft:
    """A step while it is being read."""

    title: str
    line: int
    text: str = ""
    optional: bool = False
    human: bool = False
    skip_if: str = ""
    when: When = field(default_factory=When)


@dataclass(slots=True)
class Draft:
    """A command while it is being read: where it belongs and which labels stand over it."""

    snippet: Snippet
    step: StepDraft
    lang: str
    labels: tuple[Label, ...] = ()
    role: str = ""
    """Empty for a command that installs; check | uninstall | update | skip for one that a sentence before it sets apart."""
    block: int = 0
    """Number of the block it came from."""
    or_before: bool = False
    """The words before it say that it replaces what stood before."""
    sentence: str = ""
    """The text around inline code, or the text that leads to a block."""
    expect: str = ""
    """What its output must contain, for a check."""
    part_labels: int = 0
    """How many of the labels, from the left, are headings."""
    group: str = ""
    way: str = ""
    part: Part | None = None
    """The part it stands in."""

    @property
    def when(self) -> When:
        """All labels together, and the command's own system package manager (any manager, where a way says nothing else)."""
        when = When()
        for label in self.labels:
            when = both(when, label.when)
        free = when == When(note=when.note)
        manager = manager_of(self.snippet.text, languages=bool(self.group) and free)
        if not when.os and not manager and re.match(r"(?:powershell|pwsh|iwr|irm|msiexec)\b", self.snippet.text):
            return When(("windows",), when.distro, when.manager, when.arch, when.root, when.note)
        if manager and not when.manager:
            when = When(when.os, when.distro, (manager,), when.arch, when.root, when.note)
        return when


@dataclass(slots=True)
class Harvest:
    """Everything one walk over some parts found: drafts of commands and steps, in order."""

    drafts: list[Draft] = field(default_factory=list)
    steps: list[StepDraft] = field(default_factory=list)
    blocks: int = 0
    whole: bool = False
    """Read what stands in a quotation too, and every installing command in a sentence, whatever leads to it."""

    def part(self, part: Part, labels: tuple[Label, ...], step: StepDraft | None, accept: frozenset[int]) -> None:
        """Read a part and those below it whose ids are in `accept`. A labelled part goes on with its parent's step."""
        if part.label:
            labels = (*labels, part.label)
        if step is None or not (part.label and not part.numbered):
            step = self._new(part.title, part.line, labels)
            step.optional = bool(re.search(r"\boptional", part.title, re.IGNORECASE))
            step.human = part.kind == "human"
        if id(part) in accept:
            _BlockReader(self, part, labels, step).read()
        cluster = step
        for inner in part.parts:
            if not any(id(below) in accept for below in inner.walk()):
                continue
            if inner.label and not inner.numbered and self.steps[-1] is not cluster:
                named = inner.label.when == When(note=inner.label.when.note)
                cluster = self._new(inner.title if named else part.title or inner.title, inner.line, labels)
            self.part(inner, labels, cluster, accept)

    def _new(self, title: str, line: int, labels: tuple[Label, ...] = ()) -> StepDraft:
        step = StepDraft(plain(phrases.TASK.sub("", title))[:200], line)
        for label in labels:
            step.when = both(step.when, label.when)
        self.steps.append(step)
        return step


def _changes(code: str) -> bool:
    return bool(CHANGES.match(code) or installs(code) or re.search(r"\bapt(?:-get)? update\b", code))


def _other(lead: str) -> str:
    """The role of commands whose lead says that they are for something other than installing; empty for none."""
    other = phrases.OTHER.match(lead)
    return "" if not other else "uninstall" if other["verb"].lower() in ("uninstall", "remove") else "update"


@dataclass(slots=True)
class _BlockReader:
    """Reads the blocks of one part: text that labels, text that commands, code."""

    harvest: Harvest
    part: Part
    labels: tuple[Label, ...]
    step: StepDraft
    lead: str = ""
    lead_labels: tuple[Label, ...] = ()
    item: int = 0
    item_step: StepDraft | None = None

    def read(self) -> None:
        """Read every block in order."""
        for block in self.part.blocks:
            if (block.quoted and not (self.harvest.whole and block.kind in ("row", "code"))) or any(
                container.kind == "note" for container in block.inside
            ):
                continue
            self.harvest.blocks += 1
            self._place(block)
            if block.kind == "code":
                self._code(block)
            elif block.kind == "row":
                self._row(block)
            else:
                self._text(block)

    @property
    def current(self) -> StepDraft:
        """The step commands go to now."""
        return self.item_step or self.step

    def _place(self, block: Block) -> None:
        """A task, a numbered item or a `<Step>` of a steps part is a step of its own."""
        step_title = next((c.title for c in reversed(block.inside) if c.kind == "step" and c.title), "")
        top = block.top if block.ordered or (block.text.startswith("[") and phrases.TASK.match(block.text)) else 0
        if block.top and block.top == self.item:
            return
        if step_title and self.part.kind != "uninstall":
            if self.item_step is None or self.item_step.title != step_title:
                self.item_step = self.harvest._new(step_title, block.line, self.labels)
            return
        if top and block.item == block.top and block.kind == "text" and not self._is_choice(block):
            self.item = top
            self.item_step = self.harvest._new(phrases.first_sentence(block.text), block.line, self.labels)
            self.item_step.optional = bool(re.match(r"\W*(?:\[.\]\s*)?\W*optional", block.text, re.IGNORECASE))
        elif not block.top:
            self.item, self.item_step = 0, None

    def _is_choice(self, block: Block) -> bool:
        lead = phrases.CODE.split(block.text, maxsplit=1)[0]
        return read_label(lead) is not None

    def _outer(self, block: Block) -> tuple[Label, ...]:
        found = list(self.labels)
        for container in block.inside:
            label = read_label(container.title) if container.kind in ("tab", "details") and container.title else None
            if label:
                found.append(label)
        return tuple(found)

    def _text(self, block: Block) -> None:
        text = block.text
        step = self.current
        step.text = f"{step.text}\n{text}".strip() if len(step.text) < 20_000 else step.text
        step.human = step.human or bool(phrases.HUMAN.search(text[:2000]))
        self.lead, self.lead_labels = "", ()
        spans = list(phrases.CODE.finditer(text)) if "`" in text else []
        if text.rstrip().endswith(":") or not spans or phrases.CHECK.match(text):
            self.lead = text.rstrip()
            last = re.split(r"(?<=[.!?])\s+", self.lead)[-1]
            label = read_label(phrases.CODE.sub(" ", last) if last.endswith(":") else last) if len(text) < 400 else None
            if label and not phrases.trouble(last):
                self.lead_labels = (label,)
        if not spans:
            return
        previous_end, label = 0, None
        if self._expected(block, spans[0]):
            previous_end = spans.pop(0).end()
        for span in spans[:200]:
            before = text[previous_end : span.start()]
            if previous_end and phrases.PRINTS.match(before):
                previous_end = span.end()
                continue
            found = self._label_before(before, block)
            label = found or (label if len(before) < 60 else None)
            self._span(block, span, text[phrases.sentence_start(text, span.start()) : span.start()], text[span.end() :], label)
            previous_end = span.end()

    def _expected(self, block: Block, span: re.Match[str]) -> bool:
        """Whether the text only says what the command before it prints; that command is then a check."""
        before, drafts = block.text[: span.start()], self.harvest.drafts
        if not drafts or drafts[-1].block != self.harvest.blocks - 1 or not phrases.PRINTS.match(before):
            return False
        last = drafts[-1]
        expect = "" if phrases.AT_LEAST.match(block.text[span.end() :]) else span[2].strip()
        if last.role == "check":
            last.expect = expect
        else:
            self.harvest.drafts.append(replace(last, role="check", expect=expect, block=self.harvest.blocks))
        return True

    def _label_before(self, before: str, block: Block) -> Label | None:
        clause = re.split(r"[.;](?:\s|$)|\n", before)[-1]
        if not clause.strip(" :*-–—,()"):
            return None
        return read_label(phrases.TASK.sub("", clause))

    def _span(self, block: Block, span: re.Match[str], before: str, after: str, label: Label | None) -> None:
        code = re.sub(r"^[$❯]\s+(?=\w)", "", span[2].strip())
        line = block.line + block.text.count("\n", 0, span.start())
        after = re.split(r"\.(?:\s|$)", after, maxsplit=1)[0]
        sentence = f"{before}`{code}`{after}"
        file = phrases.says_file(code, before, after)
        role = "check" if file else self._role(block, code, before, after)
        if role and not file and not is_call(code):
            return
        if not role and (
            not is_command(code)
            or phrases.NOT.search(before)
            or phrases.trouble(before)
            or not (label or phrases.VERB.search(before) or (self.harvest.whole and installs(code)))
        ):
            return
        labels = self._outer(block)
        self._add(Snippet(code, line, line), block, "", (*labels, label) if label else labels, role, sentence)
        prints = phrases.PRINTS_AFTER.match(after)
        if role == "check" and prints and not phrases.AT_LEAST.match(after[prints.end() :]):
            self.harvest.drafts[-1].expect = prints["text"].strip()

    def _role(self, block: Block, code: str, before: str, after: str) -> str:
        """What the sentence around inline code makes of it; empty for an ordinary command."""
        sentence = f"{before}`{code}`{after}"
        works = " " in code or bool(phrases.WORKS.search(after))
        clause = f"{before}`{code}`{re.split('[;`]', after, maxsplit=1)[0]}"
        if phrases.SKIP.search(sentence) and is_call(code) and not self.current.skip_if:
            self.current.skip_if = code if re.search(r"\bif\b", sentence, re.IGNORECASE) else ""
            return "skip"
        if self.part.kind == "done" and not phrases.trouble(before) and not phrases.NOT.search(before):
            return "check" if works or phrases.ON_PATH.match(after) else "skip"
        said = phrases.CHECK.match(before) and (works or before.rstrip().endswith(":"))
        if said or (not before.strip() and phrases.PRINTS_AFTER.match(after)):
            return "check"
        if works and not _changes(code) and (phrases.CHECK_LATE.search(clause) or phrases.announces_check(block.text)):
            return "check"
        return _other(before)

    def _row(self, block: Block) -> None:
        labels = [read_label(phrases.CODE.sub(" ", cell)) for cell in block.cells if not phrases.CODE.fullmatch(cell.strip())]
        named = tuple(label for label in labels if label)
        for column, cell in enumerate(block.cells):
            head = block.head[column] if column < len(block.head) else ""
            role = {"uninstall": "uninstall", "done": "check", "update": "update"}.get(kind_of(head), "")
            by_head = read_label(head)
            for span in phrases.CODE.finditer(cell):
                meant = bool(named or by_head) or (self.harvest.whole and installs(span[2]))
                if (is_command(span[2]) and meant) or (role == "check" and is_call(span[2])):
                    found = (*self._outer(block), *named, *((by_head,) if by_head and not named else ()))
                    self._add(Snippet(span[2].strip(), block.line, block.line), block, "", found, role, head)

    def _code(self, block: Block) -> None:
        lead, lead_labels = self.lead, self.lead_labels
        last = re.split(r"(?<=[.!?])\s+", lead)[-1] if lead else ""
        prompted = block.text.lstrip().startswith(("$ ", "$> "))
        if not is_shell(block.lang, block.text) or (phrases.FILE.search(last) and not prompted):
            self._written(block, last)
            return
        if block.lang in ("", "text", "output", "indented", "txt") and phrases.OUTPUT.search(last) and not prompted:
            self._output(block, last)
            return
        labels = (*self._outer(block), *lead_labels, *self._info_label(block))
        role = self._role_of_block(last)
        if role == "check" and any(BUILDS.match(line.strip().removeprefix("$ ")) for line in block.text.split("\n")):
            role = ""  # "Verify the signature", and then the commands that build what was verified
        or_before = bool(phrases.OR.match(last)) or last.strip(" *_:.").lower() in ("or", "or:")
        inner: tuple[Label, ...] = ()
        offset = 0 if block.lang == "indented" else 1
        for snippet in snippets(block.lang, block.text, block.line + offset):
            if snippet.comment:
                comment = snippet.comment.split("\n")[-1]
                label = read_label(comment)
                if label is None and inner and installs(snippet.text):
                    label = Label(When(note=comment), "", comment[:80])
                inner = (label,) if label else ()
                or_before = or_before or bool(phrases.OR.match(comment))
                own = "check" if phrases.CHECK.match(comment) else role
            else:
                own = role if snippet.line == block.line + offset or role else ""
            self._add(snippet, block, block.lang, (*labels, *inner), own, last, or_before)
        self.lead, self.lead_labels = "", ()

    def _role_of_block(self, lead: str) -> str:
        """What the sentence before a block makes of its commands."""
        if phrases.trouble(lead):
            return "trouble"
        stated = phrases.CHECK.match(lead) or (phrases.CHECK_LATE.search(lead) and lead.endswith(":"))
        return _other(lead) or ("check" if stated or self.part.kind == "done" else "")

    def _written(self, block: Block, last: str) -> None:
        """A file that the text has its reader make at home, as a command; what is there already stays."""
        match = phrases.WRITES.search(last)
        if not match or len(block.text) > 8000 or re.search(r"^EOF$", block.text, re.MULTILINE) or phrases.trouble(last):
            return
        path = match["path"]
        text = f"[ -e {path} ] || {{ mkdir -p {path.rsplit('/', 1)[0]} && cat > {path}; }} <<'EOF'\n{block.text.rstrip()}\nEOF"
        self._add(Snippet(text, block.line, block.line), block, "sh", self._outer(block), "", last)
        self.lead, self.lead_labels = "", ()

    def _output(self, block: Block, lead: str) -> None:
        """A block that shows output: what the check before it must print, when the text says so."""
        drafts, text = self.harvest.drafts, block.text.strip()
        said = re.search(r"expect|should|must", lead, re.IGNORECASE)
        if said and drafts and drafts[-1].role == "check" and drafts[-1].block >= self.harvest.blocks - 2 and "\n" not in text:
            drafts[-1].expect = text[:200]

    def _info_label(self, block: Block) -> tuple[Label, ...]:
        title = re.search(r"""title\s*=\s*["']([^"']{1,80})["']|^\[?([\w ./+-]{1,40})\]?$""", block.info)
        label = read_label(title[1] or title[2]) if title else None
        return (label,) if label else ()

    def _add(
        self,
        snippet: Snippet,
        block: Block,
        lang: str,
        labels: tuple[Label, ...],
        role: str,
        sentence: str,
        or_before: bool = False,
    ) -> None:
        unique = tuple(dict.fromkeys(labels))
        role = "skip" if ENDLESS.search(snippet.text) or "/path/to/" in snippet.text else role
        number = self.harvest.blocks
        draft = Draft(
            snippet, self.current, lang, unique, role, number, or_before, sentence, part_labels=len(self.labels), part=self.part
        )
        self.harvest.drafts.append(draft)
