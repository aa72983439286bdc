"""Services without systemd, stale process files, ports in use, accounts without a home."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Mapping

from skillrun.models.builtin.bench import Bench, Work
from skillrun.models.builtin.remedy import Failure

SYSTEMCTL = re.compile(
    r"(?:\bsudo\s+(?:-\S+\s+|env\s+(?:\S+=\S*\s+)*)*)?\bsystemctl\s+(?P<options>(?:-\S+\s+)*)(?P<verb>enable|start|restart|reload|status|is-active|daemon-reload|stop)\b(?P<rest>[^;&|\n]*)"
)
INVOKE = re.compile(r"(?:\bsudo\s+(?:-\S+\s+)*)?\bservice\s+(?P<unit>[\w@.-]+)\s+(?P<verb>start|restart)\b")


def by_hand(bench: Bench, failure: Failure, found: Mapping[str, str]) -> Work[str | None]:
    """Start a service where systemd does not run, the way its unit would: as its own user, with its own directories."""
    match = SYSTEMCTL.search(failure.command) or INVOKE.search(failure.command)
    if not match:
        return None
    groups = match.groupdict()
    left = (failure.command[: match.start()] + "true" + failure.command[match.end() :]).strip()
    left = "" if left == "true" else left
    verb = groups["verb"]
    units = (
        [groups["unit"]]
        if groups.get("unit")
        else [word for word in (groups.get("rest") or "").split() if not word.startswith("-")]
    )
    if verb in ("daemon-reload", "stop", "reload") or not units:
        return left
    if verb == "enable" and "--now" not in (groups.get("rest") or "") + (groups.get("options") or ""):
        bench.story.append(f"{' '.join(units)} is not set to start at boot: there is no systemd here.")
        return left
    for unit in units:
        if not (yield from _start(bench, unit.removesuffix(".service"))):
            return None
    return left


def _start(bench: Bench, unit: str) -> Work[bool]:
    """Start what a unit would start, or its own start script; True when it is seen to run."""
    if not re.fullmatch(r"[\w@.-]+", unit):
        return False
    text = yield from bench.look(
        f"cat /etc/systemd/system/{unit}.service /lib/systemd/system/{unit}.service /usr/lib/systemd/system/{unit}.service ~/.config/systemd/user/{unit}.service "  # noqa: E501
        f"2>/dev/null | awk '!seen[$0]++ || /^$/'; echo ==; ls /etc/init.d/{unit} 2>/dev/null; true",
        f"how would {unit} be started?",
    )
    body, _, script = (text or "").rpartition("==")
    values = unit_values(body)
    starts = values.get("ExecStart", [])
    if script.strip() and bench.can_root and not starts:
        why = f"{unit} by its own start script, since systemd does not run here"
        return (yield from bench.shell(f"{bench.root}{script.strip()} start", why)).ok
    user, me = values.get("User", [""])[-1], bench.facts.get("user", {}).get("name")
    if not starts or (user not in ("", me) and not bench.can_root):
        return False
    if bench.can_root:
        yield from _directories(bench, unit, values)
    kind = values.get("Type", ["simple"])[-1]
    words = _settle(re.sub(r"%[nNpi]", unit, starts[-1].lstrip("@-:+!")).replace("%h", bench.home), kind)
    run = f"{'' if kind == 'forking' else 'setsid '}sh -c {shlex.quote(_surroundings(values, words))}"
    if user and user != me:
        run = f"{bench.root}runuser -u {user} -- {run}"
    elif not user and not bench.is_root and "/.config/systemd/user" not in body and bench.can_root:
        run = bench.root + run
    tail = "" if kind == "forking" else f" >/tmp/{unit}.log 2>&1 </dev/null &"
    result = yield from bench.shell(f"{run}{tail}", f"{unit} as its unit would start it, since systemd does not run here")
    yield from bench.shell("sleep 2", f"time for {unit} to come up")
    program = words.split()[0].rsplit("/", 1)[-1]
    alive = yield from bench.look(
        f"pgrep -f {shlex.quote('[' + program[0] + ']' + program[1:])} || tail -5 /tmp/{unit}.log", f"does {unit} run?"
    )
    return result.ok and bool(re.match(r"\d+", alive or ""))


PLACES = {"RuntimeDirectory": "/run", "StateDirectory": "/var/lib", "LogsDirectory": "/var/log", "CacheDirectory": "/var/cache"}
"""Settings of a unit that name directories, and below what (systemd.exec(5))."""


def _directories(bench: Bench, unit: str, values: Mapping[str, list[str]]) -> Work[None]:
    user = values.get("User", [""])[-1]
    owner = f" -o {user} -g {values.get('Group', [user])[-1]}" if user else ""
    for setting, base in PLACES.items():
        for name in " ".join(values.get(setting, [])).split():
            why = f"the directory that systemd would have made for {unit}"
            yield from bench.shell(f"{bench.root}install -d -m 755{owner} {base}/{name}", why)


def _surroundings(values: Mapping[str, list[str]], words: str) -> str:
    """`words` with the variables, files of variables and working directory that the unit gives its program."""
    settings = " ".join(shlex.quote(entry.strip('"')) for line in values.get("Environment", []) for entry in shlex.split(line))
    files = [path.lstrip("-") for path in values.get("EnvironmentFile", [])]
    load = "".join(f"set -a; [ -r {path} ] && . {path}; set +a; " for path in files)
    folder = values.get("WorkingDirectory", [""])[-1].lstrip("-").replace("~", "")
    enter = f"cd {shlex.quote(folder)} && " if folder else ""
    return f"{load}{enter}exec {f'env {settings} ' if settings else ''}{words}"


BRIEFLY = """
{root}env SKILLRUN_LOOK=$$ sh -c 'said=$(mktemp); timeout 4 runuser -u {user} -- sh -c "exec $0" >"$said" 2>&1 </dev/null
for p in $(grep -lz "^SKILLRUN_LOOK=$SKILLRUN_LOOK\\$" /proc/[0-9]*/environ 2>/dev/null | cut -d/ -f3); do
  case " $$ $PPID " in *" $p "*) ;; *) kill "$p" 2>/dev/null ;; esac
done; tail -20 "$said"; rm -f "$said"' {words}
""".strip()
"""Starts a program as its user for a moment, and ends what it has left behind, known by a variable of this look."""


def service_down(bench: Bench, failure: Failure, found: Mapping[str, str]) -> Work[str | None]:
    """A service that was started and does not run: what it says in the foreground, and the directories it misses."""
    started = [
        command for command in [*bench.done, failure.command] if re.search(r"\b(?:service|systemctl|init\.d)\b", command)
    ]
    units = [next(name for name in match.groups() if name) for command in started for match in UNIT.finditer(command)]
    for unit in dict.fromkeys(name.removesuffix(".service") for name in units):
        text = yield from bench.look(
            f"cat /etc/systemd/system/{unit}.service /lib/systemd/system/{unit}.service 2>/dev/null | grep -E '^(User|Group|ExecStart)='; true",  # noqa: E501
            f"how is {unit} started, and as whom?",
        )
        values = unit_values(text or "")
        user, starts = values.get("User", ["root"])[0], values.get("ExecStart", [])
        if not starts or bench.tried[f"down {unit}"] > 3:
            continue
        bench.tried[f"down {unit}"] += 1
        words = _settle(starts[0].lstrip("@-:+!"), "notify")
        told = yield from bench.shell(
            BRIEFLY.format(root=bench.root, user=user, words=shlex.quote(words)),
            f"what does {unit} say when it is started by hand, for a moment?",
        )
        made = False
        lines = told.output.splitlines()
        files = " ".join(word for word in words.split() if re.fullmatch(r"/etc/[\w./-]+", word))
        if files and re.search(r"No such file or directory", told.output):  # it does not always say which
            look = (
                f"{bench.root}grep -hvE '^[[:space:]]*#' {files} | grep -oE '/(var/(lib|log|cache|run)|run)/[A-Za-z0-9_./-]+'"
            )
            lines += ((yield from bench.look(look, f"where does {unit} keep what it writes?")) or "").splitlines()
        for line in lines:
            for path in re.findall(r"(/(?:var|run|srv|opt|etc)/[\w./-]+)", line):
                made = (yield from _make_place(bench, path, user)) or made
        if made:
            again = next(command for command in reversed(started) if unit in command)
            yield from bench.sure(again, f"{unit} again, now that its directories are there")
            yield from bench.shell("sleep 2", f"time for {unit} to come up")
            return failure.command
    return None


UNIT = re.compile(
    r"\bservice\s+(?P<unit>[\w@.-]+)\s+(?:re)?start|systemctl\s+(?:-\S+\s+)*(?:enable\s+--now|start|restart)\s+(?P<unit2>[\w@.-]+)|init\.d/(?P<unit3>[\w.-]+)"
)


def _make_place(bench: Bench, path: str, user: str) -> Work[bool]:
    """The directory a service looks for, made as its own when it (or what it lies in) is not there."""
    folder = path.rstrip("/.'") if not re.search(r"\.\w{1,5}$", path) else path.rsplit("/", 1)[0]
    if folder.count("/") < 3 and not folder.startswith(("/var/lib", "/var/log", "/run/")):
        return False
    if (yield from bench.look(f"{bench.root}test -e {folder} && echo there", f"is {folder} there?")):
        return False
    owner = f"-o {user} -g $(id -gn {user}) " if user != "root" else ""
    made = yield from bench.shell(
        f"{bench.root}install -d -m 750 {owner}{folder}", f"{folder}, which the service needs and which is not there"
    )
    if made.ok:
        bench.explain(f"The service's directory {folder} was not there; it was made, for {user}.")
    return made.ok


def _settle(words: str, kind: str) -> str:
    """A start command without what only systemd could do with it."""
    if kind == "notify":
        words = re.sub(r"\s--supervised[= ]systemd\b", "", words)
        words = re.sub(r"\s--daemonize[= ]no\b", "", words)
    return words.replace("$MAINPID", "").replace("$OPTIONS", "").strip()


def unit_values(text: str) -> dict[str, list[str]]:
    """A unit file's settings: name -> values in order, continuation lines joined, an empty value resets."""
    found: dict[str, list[str]] = {}
    for line in re.sub(r"\s*\\\n\s*", " ", text).splitlines():
        name, sep, value = line.strip().partition("=")
        if sep and re.fullmatch(r"[A-Za-z]+", name):
            if value.strip():
                found.setdefault(name, []).append(value.strip())
            else:
                found[name] = []
    return found


def stale_pid(bench: Bench, failure: Failure, found: Mapping[str, str]) -> Work[str | None]:
    """ "Already running" although no such process lives: the file that says so is a leftover and is moved aside."""
    number = found.get("pid", "")
    words = re.findall(r"/[\w./-]+", failure.command)
    scripts = " ".join(shlex.quote(word) for word in words)
    listing = yield from bench.look(
        f"cat {scripts} 2>/dev/null | grep -aoE '/[A-Za-z0-9_./-]+\\.(pid|lock)' | sort -u; ls /run/*.pid /run/*/*.pid /var/run/*.pid 2>/dev/null; true"  # noqa: E501
        if scripts
        else "ls /run/*.pid /run/*/*.pid 2>/dev/null; true",
        "which file says that it is running?",
    )
    candidates = re.findall(r"/[\w./-]+[\w]", failure.text) + (listing or "").split()
    prefix = bench.root if bench.can_root else ""
    for path in dict.fromkeys(candidates):
        state = yield from bench.look(
            f"{prefix}sh -c 'p=$(cat {path} 2>/dev/null); p=${{p%%[!0-9]*}}; [ -n \"$p\" ] && if [ -d /proc/$p ]; then echo alive $p; else echo dead $p; fi'",  # noqa: E501
            f"does the process in {path} live?",
        )
        match = re.match(r"(alive|dead) (\d+)", state or "")
        if not match or (number and match[2] != number):
            continue
        if match[1] == "alive":
            return None
        moved = yield from bench.shell(
            f"{prefix}mv {path} {path}.stale", f"{path} names process {match[2]}, which does not live: moved aside"
        )
        return failure.command if moved.ok else None
    return None


HELD = """
for f in {paths}; do
  [ -f "$f" ] && [ -n "$(find "$f" -mmin +1 2>/dev/null)" ] || continue
  p=$(head -c 20 "$f" | tr -dc 0-9); [ -n "$p" ] && [ -d "/proc/$p" ] && continue
  ls -l /proc/[0-9]*/fd 2>/dev/null | grep -qF " $(readlink -f "$f")" && continue
  echo "$f"
done; true
"""
"""Names those lock files that are older than a minute, that nobody has open, and whose process, if they name one, is gone."""


def stale_lock(bench: Bench, failure: Failure, found: Mapping[str, str]) -> Work[str | None]:
    """A lock file that whoever made it has left behind: moved aside when nobody holds it. Locks of the kernel are none."""
    named = [path for path in re.findall(r"/[\w./@+-]*[\w-]", failure.text) if re.search(r"\.(?:lock|lck)$|/lock$", path)]
    if not named or any(path.startswith(("/var/lib/dpkg/", "/var/lib/apt/", "/var/cache/apt/")) for path in named):
        return None
    look = HELD.format(paths=" ".join(shlex.quote(path) for path in dict.fromkeys(named))).strip()
    path = ((yield from bench.look(look, "does anybody hold this lock?")) or "").split("\n")[0].strip()
    if path not in named:
        return None
    prefix = "" if path.startswith(bench.home + "/") or not bench.can_root else bench.root
    bench.explain(f"{path} is a lock that nobody holds any more: it is moved aside, to {path}.stale.")
    moved = yield from bench.shell(f"{prefix}mv {shlex.quote(path)} {shlex.quote(path + '.stale')}", f"nobody holds {path}")
    return failure.command if moved.ok else None


def stale_socket(bench: Bench, failure: Failure, found: Mapping[str, str]) -> Work[str | None]:
    """A socket file that a dead process has left: moved aside when the kernel knows of no one who holds it."""
    named = " ".join(dict.fromkeys(re.findall(r"/[\w./@+-]*[\w-]", failure.text)))
    if not named:
        return None
    listing = yield from bench.look(
        f'for f in {named}; do [ -S $f ] && ! grep -qF " $f" /proc/net/unix && echo $f; done; true',
        "is it a socket that nobody listens on?",
    )
    path = (listing or "").split("\n")[0].strip()
    if not path:
        return None
    prefix = "" if path.startswith(bench.home + "/") or not bench.can_root else bench.root
    moved = yield from bench.shell(f"{prefix}mv {path} {path}.stale", f"nobody listens on {path}: moved aside")
    return failure.command if moved.ok else None


def own_home(bench: Bench, failure: Failure, found: Mapping[str, str]) -> Work[str | None]:
    """An account without a home directory: one beside the software, set for this run and for what starts it."""
    folder = bench.cwd or "."
    place = f"{folder.rstrip('/')}/home"
    made = yield from bench.shell(
        f'mkdir -p "{place}"', "this account has no home directory; programs that keep state get one here"
    )
    if not made.ok:
        return None
    yield from bench.export("HOME", place, "a home for this run, since the account has none")
    return failure.command


PROCEDURES: dict[str, Callable[[Bench, Failure, Mapping[str, str]], Work[str | None]]] = {
    "by-hand": by_hand,
    "stale-pid": stale_pid,
    "stale-lock": stale_lock,
    "service-down": service_down,
    "own-home": own_home,
    "stale-socket": stale_socket,
}
