"""A person for a trial, by data: attentive, and of few words. Asked whether something may be done, they say no, or yes where
their machine's recipe says what they agree to."""

from __future__ import annotations

import re
from collections.abc import Sequence

from skillrun.events import Decision, ToolCall
from skillrun.ports import Approval, Place
from skillrun.run.unattended import Nobody

YES, NO = "yes, do it", "no, leave it as it is"
_AGREES = re.compile(r"^\W*(?:yes|y|ok|okay|go ahead|do it|allow|agree\w*|continue|proceed)\b", re.IGNORECASE)
_REFUSES = re.compile(r"^\W*(?:no|n|not|don'?t|do not|leave|stop|keep|cancel|abort|end|skip|never|nothing)\b", re.IGNORECASE)
_MAY_I = re.compile(
    r"\b(?:shall|should|may|can|could|would|do you|is it|are you|ok(?:ay)?|agree|allow|want)\b[\s\S]*\?", re.IGNORECASE
)


class Attentive(Nobody):
    """Says yes to what matches `agrees`, a regular expression, whatever its case; to all else no. Types nothing else.

    `says`: their yes in words of their own, which may tell what only they know.
    """

    attended = True

    def __init__(self, agrees: str = "", says: str = "") -> None:
        self._agrees, self._says = agrees, says or YES
        self.agreed = False
        """Whether they have said yes to anything."""

    def approve(self, call: ToolCall, decision: Decision, place: Place) -> Approval:
        """A command is no question about a topic: whoever asks mode `all` for leave is refused."""
        return Approval("no", reason=NO)

    def ask(self, question: str, choices: Sequence[str] = (), default: str = "") -> str | None:
        """Yes or no, in the words of the choices where there are some; None where neither is an answer."""
        fits = bool(self._agrees) and re.search(self._agrees, "\n".join((question, *choices)), re.IGNORECASE)
        if choices:
            said = next((each for each in choices if (_AGREES if fits else _REFUSES).match(each)), None)
            if said is None and fits:  # the ways offered differ: the first that does not leave it
                said = next((each for each in choices if not _REFUSES.match(each)), None)
        else:
            said = (self._says if fits else NO) if _MAY_I.search(question) else None
        self.agreed |= bool(fits and said is not None)
        return said
