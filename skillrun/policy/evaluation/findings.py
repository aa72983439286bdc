"""What was found in one command: its effects, and whether it reaches the floor that nothing may go below."""

from __future__ import annotations

from dataclasses import dataclass

from skillrun.events import Effect, EffectKind
from skillrun.policy import paths
from skillrun.policy.unknown import ANY, BRACKET, QUESTION, STAR, Unknowns
from skillrun.ports import Place
from skillrun.text.patterns import later

BUDGET = 3000
"""Commands and expansions that are read before a command counts as too large to be judged."""
MAX_EFFECTS = 400
MAX_SHOWN = 400
"""Longer subjects are cut where they are shown; the command itself is always shown whole."""
MAX_PATH = 4096
TEMPORARY = "temporary, made by this command"
_LAST_GLOBS = later(f"(?:/[.{STAR}{QUESTION}{BRACKET}]*[{STAR}{QUESTION}{BRACKET}][.{STAR}{QUESTION}{BRACKET}]*)+\\Z")
_SYSTEM = later(
    r"/(?:bin|boot|dev|etc|home|lib|lib32|lib64|libx32|proc|root|run|sbin|sys|usr|var|Users|System|Library|Applications|nix|gnu)?\Z"
    r"|/usr/(?:s?bin|lib\w*|share|include|src)\Z|/var/lib(?:/(?:dpkg|rpm|apt|pacman|docker))?\Z|/etc/(?:ssh|systemd|apt|pam\.d|ssl|sudoers\.d)\Z"
)


@dataclass(frozen=True, slots=True)
class Floor:
    """A rule of the floor that was reached, in words."""

    rule: str
    reason: str


class Findings:
    """Effects in the order they were met, each once, and the floor rules that were reached."""

    __slots__ = (
        "effects",
        "executables",
        "external",
        "floors",
        "fresh",
        "leaves",
        "place",
        "services",
        "settings",
        "state",
        "unknowns",
    )

    def __init__(self, place: Place, budget: int = BUDGET) -> None:
        self.place = place
        self.unknowns = Unknowns(budget)
        self.effects: dict[Effect, None] = {}
        self.floors: dict[Floor, None] = {}
        self.executables: dict[str, None] = {}
        self.external = False
        """A program was run, not only what the shell does itself."""
        self.settings: dict[str, None] = {}
        """Exported variables that were set and may mean anything to a program."""
        self.state: dict[str, None] = {}
        """What it leaves behind in the shell itself: functions, options, variables, what a sourced file did."""
        self.leaves = False
        """The last thing it does is to change the shell: that is then what it is for."""
        self.services = False
        """It asks a service of this machine over a socket."""
        self.fresh = False
        """A process of its own runs this: a variable that it does not set is empty, not left over from a command before."""

    def add(self, kind: EffectKind, subject: str = "", detail: str = "") -> None:
        """Note an effect; subject and detail are made readable."""
        if len(self.effects) < MAX_EFFECTS:
            self.effects[Effect(kind, self._short(subject), self._short(detail))] = None
        else:
            self.unknowns.spend(10)

    def leave(self, what: str) -> None:
        """The shell the command was typed into is changed."""
        self.state[what] = None
        self.leaves = True

    def unproven(self, what: str) -> None:
        """Nothing says that this only looks."""
        self.add(EffectKind.UNPROVEN, what)

    def close(self) -> None:
        """The command is read to its end: variables it exported count where it also runs programs."""
        if self.external:
            for name in self.settings:
                self.unproven(f"{name} may mean anything to a program")

    def _short(self, text: str) -> str:
        shown = self.unknowns.show(text[:MAX_SHOWN])
        return shown if len(shown) <= MAX_SHOWN and len(text) <= MAX_SHOWN else shown[: MAX_SHOWN - 1] + "…"

    def floor(self, rule: str, reason: str) -> None:
        """Note that a rule of the floor was reached."""
        self.floors[Floor(rule, reason)] = None

    def read(self, path: str, detail: str = "") -> None:
        """Reading a file; of a secret, or of something that may be one, it is a secret read."""
        if path == "-" or paths.HARMLESS.match(path):
            return
        home = self.place.home
        if not self._lead(path) and paths.is_kind(path, "secret", home):
            self.add(EffectKind.SECRET_READ, path, detail)
        elif self._lead(path) == "temporary":
            self.add(EffectKind.READ, path, detail)
        elif any(item.kind in ("variable", "output", "any", "fetched") for item in self.unknowns.of(path)):
            self.add(EffectKind.UNKNOWN, path, "reads a path that is not known")
        else:
            self.add(EffectKind.READ, path, detail)
        if not self._lead(path) and (paths.is_kind(path, "disk", home) or paths.LISTENS.match(path)):
            self.add(EffectKind.DEVICE, path, "read")

    def _lead(self, path: str) -> str:
        """The kind of unknown a path begins with: then nothing can be said about where it lies."""
        lead = path[:1]
        return self.unknowns.of(lead)[0].kind if lead and ANY.match(lead) else ""

    def read_tree(self, path: str, detail: str = "") -> None:
        """Reading a path with everything below it."""
        self.read(path, detail)
        if paths.holds_secrets(path, self.place.home) and not paths.is_kind(path, "secret", self.place.home):
            self.add(EffectKind.SECRET_READ, path, "the secrets that lie below it")

    def write(self, path: str, detail: str = "") -> None:
        """Writing a path, and what that means where it lies: persistence, accounts, an agent's settings, ..."""
        if paths.HARMLESS.match(path):
            return
        lead = self._lead(path)
        if lead:
            self.add(EffectKind.WRITE, path, TEMPORARY if lead == "temporary" else detail)
            if lead != "temporary":
                self.add(EffectKind.UNKNOWN, path, "where this is, is not known")
            return
        home = self.place.home
        self.add(EffectKind.WRITE, path, detail)
        self._protected(path)
        if paths.is_kind(path, "agent", home):
            self.add(EffectKind.AGENT_CONTROL, path, "what an agent reads or may do")
        if paths.is_kind(path, "persistence", home):
            self.add(EffectKind.PERSISTENCE, path, "read or run again later")
        if paths.is_kind(path, "sudoers", home):
            self.add(EffectKind.PRIVILEGE, path, "who may become root")
        if paths.is_kind(path, "account", home):
            self.add(EffectKind.ACCOUNT, path, "the machine's accounts")
        if paths.is_kind(path, "defence", home):
            self.add(EffectKind.DEFENCE_OFF, path, "what this machine trusts or lets through")
        if paths.is_kind(path, "device", home):
            self.device(path, detail or "write")

    def _protected(self, path: str) -> None:
        if not ANY.search(path) and paths.is_protected(path, self.place):
            self.floor("protection", f"{self.unknowns.show(path)} belongs to the protection that is asking")

    def device(self, path: str, detail: str) -> None:
        """Writing to a device, the kernel's settings or the boot files; a raw disk is the floor."""
        self.add(EffectKind.DEVICE, path, detail)
        if paths.is_kind(path, "disk", self.place.home):
            self.floor("raw-disk", f"{self.unknowns.show(path)} is a raw disk or the memory of the machine")

    def delete(self, path: str, recursive: bool, verb: str = "", slash: bool = False) -> None:
        """Deleting a path; whole trees that end a machine are the floor. `slash`: one was written behind it."""
        if paths.HARMLESS.match(path) and not path.startswith("/dev/fd"):
            return
        lead = self._lead(path)
        detail = TEMPORARY if lead == "temporary" else verb or ("with everything in it" if recursive else "")
        self.add(EffectKind.DELETE, path, detail)
        if lead:
            if recursive and lead != "temporary":
                self.tree(path, slash=slash)
            return
        home = self.place.home
        self._protected(path)
        if any(item.kind == "below" for item in self.unknowns.of(path[-1:])):
            self.tree(path[:-1], "; everything below it")
        if paths.is_kind(path, "disk", home):
            self.device(path, "delete")
        for kind, meaning in ((EffectKind.AGENT_CONTROL, "agent"), (EffectKind.PERSISTENCE, "persistence")):
            if not recursive and paths.is_kind(path, meaning, home):
                self.add(kind, path, "removed")
        if recursive:
            self.tree(path)

    def tree(self, path: str, remark: str = "", slash: bool = False) -> None:
        """The floor under removing a whole tree."""
        unknown = self.unknowns.of(path)
        shown = self.unknowns.show(path)
        if not self.fresh and any(item.kind == "variable" and not item.guarded for item in unknown):
            self.floor("unset-variable", f"{shown}: the variable may be empty or anything; write the path out, or use ${{X:?}}")
            return
        if len(path) > MAX_PATH:
            return
        emptied = ANY.sub(lambda m: "x" if self.unknowns.of(m[0])[0].guarded else "", path)
        if self.fresh and not emptied and not slash:
            return  # `rm -rf ""` removes nothing
        for candidate in {path, emptied}:
            whole = paths.absolute(candidate or "/", "/", Place())
            base = _LAST_GLOBS.sub("", whole) or "/"
            if self._is_root(base):
                self.floor(
                    "whole-tree", f"{shown} is the root, a home, a mount or a directory the machine needs as a whole{remark}"
                )
                return

    def _is_root(self, base: str) -> bool:
        place = self.place
        if base in place.mounts or base == place.home or (place.home != "/" and place.home.startswith(base.rstrip("/") + "/")):
            return True
        if paths.roots().match(paths.in_home(base, place.home)):
            return True
        if STAR in base or QUESTION in base or BRACKET in base:
            return paths.glob_hits_root(base, place)
        return False

    def vital(self, base: str) -> bool:
        """Is this a tree the machine cannot do without, whatever of it is picked?"""
        return _SYSTEM.match(base) is not None

    def change_tree(self, path: str, verb: str) -> None:
        """Changing owner or mode of a whole tree."""
        self.write(path, verb)
        if len(path) <= MAX_PATH and self.vital(_LAST_GLOBS.sub("", path) or "/"):
            self.floor("whole-tree", f"{verb} of all of {self.unknowns.show(path)} leaves a machine that does not work")
