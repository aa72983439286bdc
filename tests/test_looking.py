"""The shell that only looks: what the kernel keeps it from, what it says of that, and how a run asks about it."""

import os
import select
import shlex
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from skillrun.events import Decided, Result, Verdict
from skillrun.looking import passing
from skillrun.looking.bound import MOST
from skillrun.looking.keeper import Keeper
from skillrun.looking.program import Shell
from skillrun.looking.readable import readable, secret_places
from skillrun.looking.shell import LookingShell
from skillrun.looking.tries import Try, effects_of, telling
from skillrun.looking.wall import means
from skillrun.ports import Approval, Command, Place, result_of
from skillrun.pty.session import Login
from skillrun.run.calls.looks import Looks
from skillrun.targets.local import LocalTarget
from tests.forks import FORKS
from tests.test_executor import Hands, Someone

pytestmark = pytest.mark.skipif(not means()[0], reason=f"no wall on this machine: {means()[1]}")


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LookingShell]:
    """A looking shell beside an acting one; its home has a secret."""
    folder = tmp_path_factory.mktemp("looking")
    home = folder / "home"
    (home / ".ssh").mkdir(parents=True)
    (home / ".ssh" / "id_rsa").write_text("CANARY\n")
    (home / "tree").mkdir()
    (home / "tree" / ".env").write_text("CANARY\n")
    (home / "tree" / "file").write_text("plain\n")
    acting = LocalTarget(folder / "outputs", cwd=str(home / "tree"))
    looking = LookingShell(acting, str(home))
    yield looking
    looking.close()
    acting.close()


def looked(shell: LookingShell, command: str, loopback: bool = False) -> tuple[Result, list[Try]]:
    """What came of a look, and what it was kept from."""
    result = result_of(shell.run(Command(command), loopback))
    return result, telling(shell.tries)


def home_of(shell: LookingShell) -> Path:
    """The home the fixture made."""
    return Path(shell.wall.home)


WRITES = [
    "echo x > {home}/new",
    "touch {home}/tree/file",
    "rm {home}/tree/file",
    "mv {home}/tree/file {home}/tree/other",
    "ln -s / {home}/link",
    "mkdir {home}/folder",
    "chmod 600 {home}/tree/file",
    "chown 0:0 {home}/tree/file",
    "truncate -s 0 {home}/tree/file",
    "touch -d 2000-01-01 {home}/tree/file",
    "mkfifo {home}/fifo",
    "ln {home}/tree/file {home}/hard",
    "dd if=/dev/zero of={home}/tree/file count=1 conv=notrunc",
    "python3 -c \"import os; os.setxattr('{home}/tree/file', 'user.x', b'1')\"",
    "python3 -c \"open('{home}/tree/file', 'r+').write('x')\"",
]


@pytest.mark.parametrize("command", WRITES)
def test_nothing_is_written_and_what_was_tried_is_told(shell: LookingShell, command: str) -> None:
    """The file system is what it was, and the path that was tried comes from the kernel."""
    home = home_of(shell)
    before = {path: (path.lstat().st_ctime_ns, path.lstat().st_mode) for path in sorted(home.rglob("*"))}
    result, tries = looked(shell, command.format(home=home))
    after = {path: (path.lstat().st_ctime_ns, path.lstat().st_mode) for path in sorted(home.rglob("*"))}
    assert before == after
    assert result.exit_code != 0
    assert any(each.subject.startswith(str(home)) for each in tries), tries


ODD = """
import errno, fcntl, os, sys
file, pipe, victim = os.open("file", os.O_RDONLY), os.pipe()[0], int(sys.argv[1])
def tried(work):
    try:
        work()
    except OSError as error:
        return errno.errorcode[error.errno]
    return "works"
print([tried(lambda r=r: fcntl.ioctl(file, r, bytes(256))) for r in
       (0x40806685, 0x800C6613, 0xC0506617, 0x6609, 0x40086606, 0x40086602, 0x401C5820, 0x5000940E, 0x50009417, 0xC0C0586D,
        0x8901)])
print([tried(lambda c=c, v=v: fcntl.fcntl(pipe, c, v)) for c, v in ((8, victim), (10, 9), (1024, 0))])
print(tried(lambda: fcntl.ioctl(file, 0x80086601, bytes(8))) != "EPERM")
"""


def test_no_file_is_changed_through_a_descriptor_that_reads(shell: LookingShell) -> None:
    """Calls of file systems' own (verity, encryption, subvolumes) and signals sent by a descriptor's owner: all refused."""
    (home_of(shell) / "tree/odd.py").write_text(ODD)
    result, _ = looked(shell, f"python3 odd.py {os.getpid()}")
    assert result.output.split() == [*str(["EPERM"] * 11).split(), *str(["EPERM"] * 3).split(), "True"]


@pytest.mark.parametrize(
    "command", ["cat ~/.ssh/id_rsa", "cat .env", "cat /etc/shadow", "cat /proc/1/environ", "head -c1 /dev/mem"]
)
def test_secret_places_cannot_be_read(shell: LookingShell, command: str) -> None:
    """Keys, `.env` files, password hashes, other programs' environments: closed, for root too."""
    result, _ = looked(shell, f"HOME={home_of(shell)}; {command}")
    assert "CANARY" not in result.output
    assert result.exit_code != 0


def test_everything_else_is_there(shell: LookingShell) -> None:
    """Ordinary files, programs, private temporary files and the user are what they are outside."""
    assert looked(shell, "cat file")[0].output.strip() == "plain"
    assert looked(shell, 'echo a > "$TMPDIR/a"; chmod 600 "$TMPDIR/a"; cat "$TMPDIR/a"')[0].output.strip() == "a"
    assert looked(shell, "id -u")[0].output.strip() == str(os.getuid())
    result, tries = looked(shell, "python3 -c 'print(6 * 7)'")
    assert (result.output.strip(), tries) == ("42", [])
    assert looked(shell, "sleep 5 & kill $!; wait")[1] == []


def test_no_process_outside_is_signalled(shell: LookingShell) -> None:
    """Not by number, not by name, not all of them; one's own children are."""
    victim = subprocess.Popen(["sleep", "60"], start_new_session=True)  # its group has a number, whoever made ours
    try:
        for command in (f"kill -9 {victim.pid}", "kill -9 -1", f"kill -TERM -- -{os.getpgid(victim.pid)}"):
            result, tries = looked(shell, command)
            assert result.exit_code != 0
            assert [each.kind for each in tries] == ["signal"], command
        assert victim.poll() is None
    finally:
        victim.kill()
        victim.wait()


def test_no_connection_is_made_and_the_host_is_named(shell: LookingShell) -> None:
    """The name that was to be looked up is what a person reads; nothing is sent to anybody, not even the question."""
    _, tries = looked(shell, "python3 -c \"import urllib.request as u; u.urlopen('http://look.example.invalid/')\"")
    assert {(each.kind, each.subject) for each in tries} == {("connect", "look.example.invalid")}
    _, tries = looked(shell, "exec 3<>/dev/tcp/192.0.2.1/80")
    assert {(each.kind, each.subject) for each in tries} == {("connect", "192.0.2.1:80")}


def test_this_machine_is_asked_only_where_that_was_agreed(shell: LookingShell) -> None:
    """Loopback is closed, but for the command whose judged effects name it."""
    import http.server
    import threading

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    command = f"curl -sS -o /dev/null -w '%{{http_code}}' http://127.0.0.1:{server.server_port}/"
    try:
        assert looked(shell, command)[0].exit_code != 0
        assert looked(shell, command, loopback=True)[0].output == "200"
        assert looked(shell, command)[0].exit_code != 0
    finally:
        server.shutdown()
        server.server_close()


def in_one_shell(shell: LookingShell, *commands: str) -> list[tuple[Result, list[Try]]]:
    """Looks of one and the same shell: it is made anew where what may be read has changed meanwhile, by whomever."""
    for _ in range(20):
        first, number = looked(shell, commands[0]), shell._number
        others = [looked(shell, command) for command in commands[1:]]
        if shell._number == number:
            return [first, *others]
    raise AssertionError("no shell stayed")


def test_what_is_sent_over_a_descriptor_of_an_earlier_look_is_told(shell: LookingShell) -> None:
    """Also where this look itself opened nothing."""
    opens, sends = "exec 7<> /dev/udp/192.0.2.1/53", "printf hello >&7"
    looks = in_one_shell(shell, opens, sends, f"exec 7>&-; {opens}", sends, "exec 7>&-; echo done")
    told = [Try("connect", "a host (datagrams)", "bash")]
    assert (looks[1][1], looks[3][1]) == (told, told)
    assert [result.exit_code for result, _ in looks] == [0] * 5
    assert looks[4][0].output.strip() == "done"


def test_a_stand_in_that_ends_while_it_is_asked_about_ends_nothing_else() -> None:
    """What was told and closed on a request may have been ready in the same round: the keeper goes on."""
    run, requests = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    bell = os.eventfd(0, os.EFD_NONBLOCK)
    with run, requests, theirs:
        keeper = Keeper(requests, bell)
        program = Shell(os.getpid(), -1, "/nonexistent", "")
        descriptor = ours.detach()
        keeper.shells[program.listener] = program
        program.questions.add(descriptor)
        keeper.asking.add(descriptor)
        keeper.poll.register(descriptor, select.POLLIN)
        theirs.close()
        passing.send(run, passing.packed(("take",)))
        passing.send(run, passing.packed(("begin", "")))
        run.shutdown(socket.SHUT_WR)
        keeper.serve()
        keeper.bound.close()
        assert (program.questions, keeper.asking) == (set(), set())
    os.close(bell)


def test_this_machine_is_out_of_reach_again_after_the_look(shell: LookingShell) -> None:
    """What a look left running does not go on with what was agreed for that look."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        reach = f"true > /dev/tcp/127.0.0.1/{server.getsockname()[1]}"
        assert looked(shell, reach, loopback=True)[0].exit_code == 0
        later = f'{{ until [ -e "$TMPDIR/go" ]; do sleep 0.05; done; {reach} && echo re""ached; }} 2>&1 & true'
        for _ in range(20):  # the shell is made anew where what may be read has changed meanwhile
            assert looked(shell, f'rm -f "$TMPDIR/go"; {later}', loopback=True)[0].exit_code == 0
            number = shell._number
            result, tries = looked(shell, ': > "$TMPDIR/go"; wait')
            assert "reached" not in result.output
            if shell._number == number:
                break
        assert [each.kind for each in tries] == ["connect"]


def _turns(shell: LookingShell) -> int:
    """How often the keeper has waited: once for each word with it."""
    keeper = shell.wall._keeper
    assert keeper is not None
    status = Path(f"/proc/{keeper.pid}/status").read_text()
    return int(status.partition("nonvoluntary")[0].rpartition("voluntary_ctxt_switches:")[2])


def test_a_look_that_tries_nothing_is_no_word_with_the_keeper(shell: LookingShell) -> None:
    """What it costs is what a command costs; one that opens a file for writing is held, so that costs a word."""
    looked(shell, "echo before")

    def words(
        command: str,
    ) -> int:  # the least of three rounds: on a busy machine the keeper waits for a lock of the kernel's, too
        rounds = []
        for _ in range(3):
            before = _turns(shell)
            for _ in range(5):
                assert looked(shell, command)[0].exit_code == 0
            rounds.append(_turns(shell) - before)
        return min(rounds)

    held = words("echo hello; [ -e /etc/hosts ]; cat < /etc/hostname")
    assert held <= 10, "only that a program is started is held: it may be one with other rights"
    assert words("echo hello") == 0


def test_the_keeper_imports_little() -> None:
    """Its start is part of every run's: half of what it took was `json`, `socket`, `re` and what they bring along."""
    root = Path(__file__).parents[1]
    code = f"import sys; sys.path.insert(0, {str(root)!r}); import skillrun.looking.keeper; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"json", "socket", "re", "typing", "contextlib", "functools", "platform", "subprocess", "enum"} & set(loaded)


def test_rights_of_root_are_gone_and_asking_for_them_is_told(shell: LookingShell) -> None:
    """No set-user-id program helps, and that one was started is known."""
    result, tries = looked(shell, "su -c id 2>&1 < /dev/null")
    assert "uid=0" not in result.output.replace("uid=0(root) gid=0(root)", "uid=0" if os.getuid() else "")
    assert ("root", "su") in {(each.kind, each.subject) for each in tries}


def test_directory_exports_and_functions_are_the_acting_shells(shell: LookingShell) -> None:
    """What an acting command left behind is there for the next look; what a look leaves behind is gone."""
    result_of(shell.acting.run(Command("greet() { echo hello $1; }; export COLOUR=red; plain='a b'")))
    shell.acted("greet() { echo hello $1; }; export COLOUR=red; plain='a b'")
    assert looked(shell, 'greet "$COLOUR $plain"')[0].output.strip() == "hello red a b"
    looked(shell, "greet() { echo poisoned; }; export COLOUR=blue")
    shell.forget()
    assert looked(shell, 'greet "$COLOUR $plain"')[0].output.strip() == "hello red a b"


def test_a_look_that_waits_is_ended(shell: LookingShell) -> None:
    """Nobody is asked what to type at a program that was only looked at."""
    result, _ = looked(shell, "read -p 'go on? ' answer; echo $answer")
    assert result.note == "it waits for an answer"


def test_what_start_up_files_try_is_not_the_commands(shell: LookingShell) -> None:
    """A check runs in a login shell of the person's: what their files try is no question; what the check itself tries is."""
    home = home_of(shell)
    (home / ".bash_profile").write_text("{ echo x > ~/shims; } 2> /dev/null\n")
    home_before, shell.acting.login = (
        shell.acting.login,
        Login("/bin/bash", str(home), {"HOME": str(home), "PATH": os.environ["PATH"]}),
    )
    shell.forget()
    try:
        result = result_of(shell.run(Command("echo seen", login=True)))
        assert (result.exit_code, result.output.strip(), telling(shell.tries)) == (0, "seen", [])
        again = f"echo x > {home}/wish; : > {shell.wall.begins}; exit 3"
        assert result_of(shell.run(Command(again, login=True))).exit_code == 3
        assert [each.subject for each in telling(shell.tries)] == [f"{home}/wish"]
    finally:
        shell.acting.login = home_before
        (home / ".bash_profile").unlink()
        shell.forget()


# --- in a run --------------------------------------------------------------------------------------


@pytest.fixture
def hands(tmp_path: Path) -> Iterator[Hands]:
    """An executor with a looking shell; its person says yes once."""
    work = tmp_path / "work"
    work.mkdir()
    target = LocalTarget(tmp_path / "outputs", cwd=str(work))
    made = Hands(target, work, Someone(Approval("once")))
    made.executor.looks = Looks(lambda name: LookingShell(target, str(tmp_path), name=name))
    yield made
    made.executor.looks.close()
    target.close()


def test_unread_code_that_only_looks_is_no_question(hands: Hands) -> None:
    """It runs unasked, the decision says `look`, and the result says how it ran."""
    result = hands.shell("python3 -c 'print(1)'")
    assert (result.exit_code, result.output.strip()) == (0, "1")
    assert "only look" in result.note
    assert not hands.executor.person.asked  # type: ignore[attr-defined]
    decided = next(event for event in hands.events if isinstance(event, Decided))
    assert decided.decision.verdict is Verdict.LOOK


def test_what_a_look_was_kept_from_is_asked_and_then_done(hands: Hands) -> None:
    """The person reads the path, from the kernel; only their word repeats it for real."""
    place = Path(hands.executor.place.cwd)
    command = "python3 -c \"open('made', 'w').write('x')\""
    assert hands.shell(command).ok
    person = hands.executor.person
    assert [decision.reason for _, decision in person.asked] == [  # type: ignore[attr-defined]
        f"it was only looked at, which changed nothing; it wants to write {place}/made"
    ]
    assert (place / "made").read_text() == "x"


def test_a_no_leaves_nothing(hands: Hands) -> None:
    """Without that word it never happened."""
    hands.executor.person.words = [Approval("no")]  # type: ignore[attr-defined]
    assert not hands.shell("python3 -c \"open('made', 'w')\"").ok
    assert not (Path(hands.executor.place.cwd) / "made").exists()


def test_a_directory_that_was_gone_to_is_kept(hands: Hands) -> None:
    """`cd` in a look counts for what follows, in both shells."""
    hands.shell("cd /usr && ls > /dev/null")
    assert hands.shell("pwd").output.strip() == "/usr"
    assert hands.executor.target.cwd == "/usr"


# --- as an ordinary user ---------------------------------------------------------------------------


@pytest.mark.skipif(os.getuid() != 0, reason="needs root, to become another user")
def test_it_holds_for_a_user_without_rights() -> None:
    """No namespace, no capability is needed, and a run that hides its memory from others has a wall, too."""
    user = 60_000 + os.getpid() % 5_000  # nobody else's: the kernel counts an account's processes, not a test's
    python = shutil.which("python3", path="/usr/bin:/bin")
    if python is None:
        pytest.skip("no Python that other users can run")
    root, libraries = Path(__file__).parents[1], Path(psutil.__file__).parents[1]
    reads = f"test -r {shlex.quote(str(root))} && test -r {shlex.quote(psutil.__file__)}"
    if subprocess.run(["setpriv", f"--reuid={user}", "--clear-groups", "sh", "-c", reads], check=False).returncode:
        pytest.skip("this checkout cannot be read by other users")
    folder = Path("/tmp") / f"looking-{os.getpid()}"
    folder.mkdir(mode=0o777)
    folder.chmod(0o777)
    text = f"""
import sys
sys.path[:] = [{str(root)!r}, *sys.path, {str(libraries)!r}]
from pathlib import Path
from skillrun.looking.shell import LookingShell
from skillrun.ports import Command, result_of
from skillrun.run.calls.looks import Looks
from skillrun.targets.local import LocalTarget
from skillrun.looking.wall import means
from skillrun.overlay.kernel.syscalls import hide_memory
hide_memory()
assert means()[0], means()
home = {str(folder)!r}
acting = LocalTarget(Path(home) / "outputs", env={{"HOME": home, "PATH": "/usr/bin:/bin"}}, cwd=home)
looking = LookingShell(acting, home)
for command in ("echo x > new", "echo seen", "kill -9 {os.getpid()}", {FORKS!r}):
    result = result_of(looking.run(Command(command)))
    print(result.exit_code, result.output.strip(), [each.kind for each in looking.tries])
looking.close()
acting.close()
"""
    try:
        done = subprocess.run([python, "-"], input=text, user=user, group=user, extra_groups=[], capture_output=True, text=True)
    finally:
        made = sorted(path.name for path in folder.iterdir() if path.name != "outputs")
        shutil.rmtree(folder)
    lines = done.stdout.splitlines()
    assert lines[1:2] == ["0 seen []"], done.stderr
    assert lines[0].endswith("['write']")
    assert lines[2].endswith("['signal']")
    assert 0 < int(lines[3].split()[1]) <= MOST
    assert made == []


# --- what is told ----------------------------------------------------------------------------------


def test_what_was_tried_becomes_effects() -> None:
    """With what a path means where it lies, so that declarations can be compared with it."""
    place = Place("/home/me", "/home/me", "me")
    tries = [
        Try("write", "/home/me/.bashrc", "sh"),
        Try("connect", "x.invalid"),
        Try("root", "sudo"),
        Try("signal", "init (1)"),
    ]
    kinds = [str(effect.kind) for effect in effects_of(tries, place)]
    assert kinds == ["write", "persistence", "network", "privilege", "kill"]
    assert telling([Try("write", "/usr/lib/x/__pycache__/a.pyc"), Try("write", "/etc/x")]) == [Try("write", "/etc/x")]
    dispensable = [Try("write", "/var/log/apt/eipp.log.xz"), Try("connect", "1.2.0.192.in-addr.arpa")]
    assert telling([*dispensable, Try("connect", "h.invalid"), Try("write", "/var/log/apt/history.log")]) == [
        Try("connect", "h.invalid"),
        Try("write", "/var/log/apt/history.log"),
    ]


def test_secrets_beside_the_work_are_hidden_and_new_ones_are_noticed(tmp_path: Path) -> None:
    """A `.env` that appears later makes the list of what may be read stale."""
    home, work = tmp_path, tmp_path / "work"
    (home / ".aws").mkdir()
    (home / ".aws" / "credentials").write_text("x")
    work.mkdir()
    assert str(home / ".aws") in secret_places(str(home))
    listed = readable(str(home), str(work))
    assert str(home / ".aws") not in listed.trees
    assert listed.current(str(work))
    (work / ".env").write_text("x")
    assert not listed.current(str(work))
    again = readable(str(home), str(work))
    assert str(work / ".env") in again.hidden
