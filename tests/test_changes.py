"""What a person is told of changes: complete, explained, and safe to print."""

from __future__ import annotations

import json
import os
import stat
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from skillrun.overlay.diff.accounts import AccountChange
from skillrun.overlay.diff.both_sides import Both
from skillrun.overlay.diff.changes import Changes, Notable, scan
from skillrun.overlay.diff.deferred import read_deferred
from skillrun.overlay.diff.entries import Entry
from skillrun.overlay.diff.highlights import FOLDED, PERSISTENCE, PRIVATE, TRUST, gains_privilege, meaning, weighty
from skillrun.overlay.diff.packages import Package, apk_versions, dpkg_versions, explain_packages
from skillrun.overlay.diff.summary import summary
from skillrun.overlay.kernel.inode import Inode
from skillrun.overlay.mount.layers import Layer, Layers
from skillrun.overlay.mount.service_request import Refused, ServiceRequest
from skillrun.overlay.transaction.deferred_services import carry_out, inverse_of, settle, take_back
from skillrun.overlay.transaction.package_locks import Guard, Locked, guarded
from skillrun.overlay.transaction.privileged import Work
from skillrun.overlay.transaction.selection import Choice
from skillrun.record.changes_text import change_lines
from skillrun.record.wording import changes_line
from tests.lab import Lab, ground, needs_overlay


def render(data: dict[str, Any]) -> str:
    """The changes as a person reads them."""
    return "\n".join(line.text for line in change_lines(data))


def _below(changes: Changes, top: str) -> Iterator[Entry]:
    """The entries with their paths as they would be if the lab's folder were the root."""
    for entry in changes.entries:
        yield entry._replace(path=entry.path.removeprefix(top))


# --- rules -----------------------------------------------------------------------------------------------

MEANINGS = [
    (PERSISTENCE, "/etc/systemd/system/multi-user.target.wants/x.service", "enabled at start"),
    (PERSISTENCE, "/usr/lib/systemd/system/x.service", "service"),
    (PERSISTENCE, "/home/dev/.config/systemd/user/x.timer", "timer"),
    (PERSISTENCE, "/etc/cron.d/x", "timer"),
    (PERSISTENCE, "/root/.bashrc", "shell start-up"),
    (PERSISTENCE, "/etc/profile.d/x.sh", "shell start-up"),
    (PERSISTENCE, "/etc/ld.so.preload", "loaded into every program"),
    (PERSISTENCE, "/usr/lib/python3/dist-packages/x.pth", "loaded into every program"),
    (PERSISTENCE, "/usr/bin/x", ""),
    (PERSISTENCE, "/home/dev/notes/.bashrc", ""),
    (TRUST, "/etc/sudoers.d/x", "who may become root"),
    (TRUST, "/home/dev/.ssh/authorized_keys", "who may log in"),
    (TRUST, "/etc/apt/sources.list.d/x.list", "where software comes from"),
    (TRUST, "/usr/share/keyrings/x.gpg", "where software comes from"),
    (TRUST, "/home/dev/.claude/settings.json", "what agents may do"),
    (TRUST, "/srv/project/AGENTS.md", "what agents may do"),
    (TRUST, "/srv/project/.git/hooks/pre-commit", "git hooks and settings"),
    (TRUST, "/usr/share/x", ""),
    (FOLDED, "/var/cache/apt/archives/x.deb", "package records, lists and downloads"),
    (FOLDED, "/opt/x/lib/__pycache__/y.pyc", "caches"),
    (FOLDED, "/usr/share/doc/x/README", "documentation and translations"),
    (FOLDED, "/etc/x.conf", ""),
]


@pytest.mark.parametrize(("table", "path", "what"), MEANINGS)
def test_a_path_means_what_the_table_says(table: str, path: str, what: str) -> None:
    """One path, one meaning; paths that only look alike have none."""
    assert meaning(table, path) == what


@pytest.mark.parametrize(
    "path",
    ["/etc/shadow", "/home/dev/.ssh/id_ed25519", "/root/.netrc", "/srv/app/.env", "/etc/ssl/private/x.key", "/x/api_token"],
)
def test_private_files_are_known(path: str) -> None:
    """Content that must never be shown."""
    assert PRIVATE.fullmatch(path)


LIST = "a list of its own lets others write it"


def inode(mode: int, uid: int = 0) -> Inode:
    """An inode with these rights."""
    return Inode(1, mode, uid, 0, 1, 0, 0, 1, 0, 8)


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        (None, stat.S_IFREG | 0o4755, "runs as root"),
        (stat.S_IFREG | 0o755, stat.S_IFREG | 0o2755, "runs as group 0"),
        (stat.S_IFREG | 0o4755, stat.S_IFREG | 0o4755, "runs as root"),
        (None, stat.S_IFREG | 0o666, "anybody may write it"),
        (None, stat.S_IFDIR | 0o1777, ""),
        (None, stat.S_IFLNK | 0o777, ""),
        (None, stat.S_IFREG | 0o755, ""),
    ],
)
def test_gained_privileges_are_named(old: int | None, new: int, what: str) -> None:
    """New rights and new content with old rights count; what may do nothing special does not."""
    entry = Entry("/x", "changed" if old else "added", None if old is None else inode(old), inode(new), ("content",))
    assert gains_privilege(entry) == what


def test_every_place_that_starts_something_or_is_believed_is_named() -> None:
    """In a change of whatever size: none of the known ways to stay, to be believed or to be root is only counted."""
    lines = (Path(__file__).parent / "cases/view/telling.txt").read_text("utf-8").splitlines()
    paths = [line for line in lines if line.startswith("/")]
    entries = [Entry(path, "added", None, inode(stat.S_IFREG | 0o644), ()) for path in paths]
    assert len(paths) > 200
    assert {entry.path for entry in weighty(entries)} == set(paths)
    odd = [
        "/etc/sudoers.d/a\nb",
        "/home/me/.config/autostart/\n.desktop",
        "/srv/x/.git/hooks/\nx",
    ]  # a name may hold a line break
    assert [bool(meaning(TRUST, path) or meaning(PERSISTENCE, path)) for path in odd] == [True] * 3
    assert PRIVATE.fullmatch("/root/.ssh/a\nb")
    others = ("/usr/share/doc/x/README", "/home/me/.cache/x", "/usr/lib/x/y.so", "/home/me/src/etc/rc", "/opt/x/bin/.hidden")
    assert weighty([Entry(path, "added", None, inode(stat.S_IFREG | 0o644), ()) for path in others]) == []


def test_what_strangers_called_something_is_shown_as_what_it_is() -> None:
    """Packages, services, accounts, commands, requests to services: none writes to the terminal or turns a line around."""
    odd = "a\033]0;owned\007\033[2J\r\u202e\u2028\x9b31m\U000e0041b"
    paths = [f"/usr/local/bin/{odd}", f"/etc/systemd/system/{odd}.service", f"/etc/cron.d/{odd}", f"/home/{odd}/x"]
    entries = tuple(Entry(path, "added", None, inode(stat.S_IFREG | 0o4755), ()) for path in paths)
    data = summary(
        Changes(
            entries,
            packages=(Package("dpkg", odd, odd, f"{odd}2", odd),),
            accounts=(AccountChange("user", odd, odd, "added", odd),),
            refused=(Refused(odd, "no"),),
            privileged=tuple(Notable(path, "runs as root", "added") for path in paths),
            owners={paths[3]: odd},
        )
    )
    text = render(data) + changes_line(data) + json.dumps(data, ensure_ascii=False)
    assert not set(text) & set("\033\007\r\u202e\u2028\x9b\U000e0041")
    assert text.count("U+001B") > 10


@pytest.mark.parametrize(
    ("only", "except_", "path", "wanted"),
    [
        ([], [], "/etc/x", True),
        (["/etc"], [], "/etc/x/y", True),
        (["/etc/**"], [], "/etc", True),
        (["/etc"], [], "/etcetera", False),
        (["*.conf"], [], "/etc/x.conf", True),
        (["/usr/*/tool"], [], "/usr/bin/tool", True),
        ([], ["/etc/x"], "/etc/x/y", False),
        (["/etc"], ["*.bak"], "/etc/a.bak", False),
        (["/"], [], "/anything/at/all", True),
    ],
)
def test_a_choice_of_paths(only: list[str], except_: list[str], path: str, wanted: bool) -> None:
    """Patterns match a path and all below it; what is excepted is out."""
    assert Choice(only, except_)(path) is wanted


# --- managers' records ---------------------------------------------------------------------------------------


def test_dpkg_counts_what_is_installed() -> None:
    """Removed packages with configuration left are not installed; a foreign architecture has its own name."""
    status = b"""Package: jq
Status: install ok installed
Architecture: amd64
Version: 1.6

Package: gone
Status: deinstall ok config-files
Version: 2

Package: libc6
Status: install ok installed
Architecture: amd64
Version: 2.36

Package: libc6
Status: install ok installed
Architecture: i386
Version: 2.36
"""
    assert dpkg_versions(status) == {("jq", ""): "1.6", ("libc6", ""): "2.36", ("libc6:i386", ""): "2.36"}
    assert apk_versions(b"C:x\nP:jq\nV:1.7-r0\n\nP:musl\nV:1.2\n") == {("jq", ""): "1.7-r0", ("musl", ""): "1.2"}


PACKAGES = {
    "usr/lib/python3/site-packages/rich-13.7.0.dist-info/METADATA": ("pip", "rich", "13.7.0"),
    "home/dev/.local/lib/python3.11/site-packages/zope.interface-6.0.dist-info/METADATA": ("pip", "zope.interface", "6.0"),
    "usr/local/lib/node_modules/typescript/package.json": ("npm", "typescript", "5.4"),
    "usr/local/lib/node_modules/@scope/tool/package.json": ("npm", "@scope/tool", "5.4"),
    "var/lib/gems/3.1.0/specifications/rake-13.0.6.gemspec": ("gem", "rake", "13.0.6"),
}
NO_PACKAGES = ["usr/local/lib/node_modules/typescript/node_modules/inner/package.json", "srv/package.json", "srv/METADATA"]


def test_packages_are_found_by_the_records_their_managers_leave(tmp_path: Path) -> None:
    """Name, version and place per manager; packages inside packages are not counted."""
    upper, real = tmp_path / "upper", tmp_path / "real"
    real.mkdir()
    for path in (*PACKAGES, *NO_PACKAGES):
        (upper / path).parent.mkdir(parents=True, exist_ok=True)
        (upper / path).write_text('{"version": "5.4"}')
    layers = Layers(tmp_path, time.time_ns(), "R", "identity", (Layer(str(real), str(upper)),))
    with Both(layers) as both:
        entries = [Entry(f"{real}/{path}", "added", None, inode(stat.S_IFREG | 0o644)) for path in (*PACKAGES, *NO_PACKAGES)]
        found, _ = explain_packages(entries, both)
    assert {(item.manager, item.name, item.new) for item in found} == set(PACKAGES.values())


# --- services ---------------------------------------------------------------------------------------------


class Systemd:
    """A service manager that remembers: stands in for systemctl, whose effects cannot be had here."""

    def __init__(self, active: set[str], enabled: set[str]) -> None:
        self.state = {"is-active": active, "is-enabled": enabled}
        self.seen: list[tuple[str, ...]] = []

    def __call__(self, argv: Any, cwd: str) -> tuple[int, str]:
        """Answer like systemctl."""
        verb, *units = [word for word in argv[1:] if not word.startswith("-")]
        if verb in self.state:
            return (0 if units[0] in self.state[verb] else 3), ""
        self.seen.append(tuple(argv))
        changes = {"start": ("is-active", True), "stop": ("is-active", False), "enable": ("is-enabled", True)}
        changes["disable"] = ("is-enabled", False)
        for unit in units:
            if verb in changes:
                key, add = changes[verb]
                (self.state[key].add if add else self.state[key].discard)(unit)
        return 0, ""


def test_deferred_actions_are_carried_out_in_order_and_taken_back_in_reverse() -> None:
    """What was so already is not taken back; reloading comes after the files are back."""
    systemd = Systemd({"old"}, set())
    asked = [("daemon-reload",), ("enable", "a"), ("start", "a"), ("start", "old")]
    carried = carry_out([ServiceRequest("systemctl", verb, tuple(units)) for verb, *units in asked], systemd)
    assert [item.exit_code for item in carried] == [0, 0, 0, 0]
    assert systemd.state == {"is-active": {"old", "a"}, "is-enabled": {"a"}}
    systemd.seen.clear()
    take_back(carried, systemd)
    assert systemd.seen == [("systemctl", "stop", "a"), ("systemctl", "disable", "a")]
    settle(carried, systemd)
    assert systemd.seen[-1] == ("systemctl", "daemon-reload")
    assert systemd.state == {"is-active": {"old"}, "is-enabled": set()}


@pytest.mark.parametrize(
    ("argv", "inverse"),
    [
        (("systemctl", "enable", "--now", "x"), ("systemctl", "--now", "disable", "x")),
        (("systemctl", "restart", "x"), ()),
        (("invoke-rc.d", "x", "start"), ("invoke-rc.d", "x", "stop")),
        (("service", "x", "restart"), ("service", "x", "stop")),
        (("deb-systemd-invoke", "start", "x.service"), ("deb-systemd-invoke", "stop", "x.service")),
        (("reboot",), ()),
    ],
)
def test_the_inverse_of_an_action(argv: tuple[str, ...], inverse: tuple[str, ...]) -> None:
    """Judged on a machine where nothing runs and nothing is enabled."""
    assert inverse_of(argv, lambda *_: (3, "")) == inverse


def test_a_torn_or_foreign_line_of_deferred_actions_is_left_out(tmp_path: Path) -> None:
    """A crash in mid-write, or somebody who writes what is no request, costs that line only; the same request counts once."""
    line = json.dumps(ServiceRequest("systemctl", "start", ("a.service",)).to_json())
    foreign = json.dumps({"manager": "bash", "verb": "-c", "units": ["id"], "of_user": False, "by": 0})
    (tmp_path / "deferred.jsonl").write_text(f'{line}\nnot json\n{foreign}\n{{"argv": ["id"]}}\n{line}\n{{"argv": ["c"')
    assert read_deferred(tmp_path) == (ServiceRequest("systemctl", "start", ("a.service",)),)
    assert read_deferred(tmp_path / "nowhere") == ()


# --- package locks ---------------------------------------------------------------------------------------


def test_a_package_manager_at_work_stops_a_commit_of_its_database(tmp_path: Path) -> None:
    """Its own kind of lock is respected and held; a lock that guards other paths is left alone."""
    import fcntl

    lock, tree = tmp_path / "lock", str(tmp_path / "db")
    lock.touch()
    guard = Guard("dpkg", tree, str(lock))
    child = os.fork()
    if child == 0:
        with lock.open("r+") as file:
            fcntl.lockf(file, fcntl.LOCK_EX)
            time.sleep(30)
        os._exit(0)
    try:
        time.sleep(0.3)
        with pytest.raises(Locked, match="dpkg is at work"), guarded([f"{tree}/status"], 0.1, [guard]):
            pass
        with guarded(["/elsewhere"], 0.1, [guard]) as held:
            assert held == ()
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)
    with guarded([f"{tree}/status"], 5, [guard]) as held:
        assert held == (str(lock),)
        lock.open("rb").close()  # closing another descriptor must not give the lock up
        assert _refused_to_others(lock)
    assert not _refused_to_others(lock)


def _refused_to_others(lock: Path) -> bool:
    import fcntl

    child = os.fork()
    if child == 0:
        with lock.open("r+") as file:
            try:
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1


# --- a whole view --------------------------------------------------------------------------------------------


@pytest.fixture
def lab() -> Iterator[Lab]:
    """A small tree to change."""
    with ground() as base:
        lab = Lab(base / "lab")
        lab.bash(
            "mkdir bin etc; echo 'old line' > etc/conf; echo secret > etc/api_token; echo x > etc/gone; echo run > bin/old"
        )
        yield lab


@needs_overlay
@pytest.mark.root
@pytest.mark.overlay
class TestOfAView:
    def test_everything_is_counted_and_what_matters_is_told(self, lab: Lab) -> None:
        """Counts, differences, commands, alerts and sizes, in the keys that the surfaces read."""
        lab.view(
            "echo 'new line' > etc/conf; rm etc/gone; echo hidden > etc/api_token; printf x > bin/tool; chmod 4755 bin/tool;"
            "mkdir big; for i in $(seq 100); do echo $i > big/$i; done; mkdir -p proj/.git/hooks; echo x > proj/.git/hooks/push"
        )
        data = summary(scan(lab.layers))
        assert json.loads(json.dumps(data)) == data
        assert data["counts"]["added"] == 1 + 101 + 4
        assert (data["counts"]["changed"], data["counts"]["removed"]) == (2, 1)
        assert data["commands"] == ["tool"]
        files = {item["path"].removeprefix(f"{lab.real}/"): item for item in data["files"]}
        assert files["etc/conf"]["diff"].splitlines()[1:] == ["-old line", "+new line"]
        assert files["etc/api_token"]["diff"] == ""
        assert "private" in files["etc/api_token"]["detail"]
        assert files["big"]["detail"] == "with 100 paths below it"
        assert "big/7" not in files
        alerts = {(item["level"], item["path"].removeprefix(f"{lab.real}/")) for item in data["alerts"]}
        assert {("warning", "bin/tool"), ("warning", "proj/.git/hooks/push")} <= alerts
        text = render(data)
        assert changes_line(data).startswith("files: 106 added, 2 changed, 1 removed, ")
        assert "-old line" in text
        assert "secret" not in text
        assert "hidden" not in text

    def test_names_and_lines_cannot_write_to_the_terminal(self, lab: Lab) -> None:
        """Escape sequences, line breaks and broken encodings in names and contents come out as what they are."""
        lab.view(r"""printf '\033]0;owned\007\n' >> etc/conf; echo x > "$(printf 'a\033[2Jb\nc\351')" """)
        text = render(summary(scan(lab.layers)))
        assert "\033" not in text
        assert "\007" not in text
        assert "a⟨U+001B⟩[2Jb" in text
        text.encode()

    def test_rights_that_a_commit_would_give_away_are_shown(self, lab: Lab) -> None:
        """Set-user-ID under a new name, capabilities, an access list, rights for all, wherever the files lie."""
        lab.bash("cp /bin/true bin/suid && chmod 4755 bin/suid; cp /bin/true bin/other; echo x > etc/plain")
        give = "import os, struct, sys; os.setxattr(sys.argv[2], sys.argv[1], bytes.fromhex(sys.argv[3]))"
        named = [(1, 6, 2**32 - 1), (2, 6, 65534), (4, 0, 2**32 - 1), (16, 6, 2**32 - 1), (32, 0, 2**32 - 1)]
        listed = (struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *each) for each in named)).hex()
        able = struct.pack("<5I", 0x2000001, 0x80, 0, 0, 0).hex()
        lab.view(f"""
mkdir -p new/deep; ln bin/suid new/kept; cp /bin/true new/deep/able; touch new/list etc/list
mkdir -m 777 new/open; chmod 646 etc/plain
able=security.capability
for path in new/deep/able bin/other; do python3 -c '{give}' $able $path {able}; done
list=system.posix_acl_access
for path in new/list etc/list new/deep; do python3 -c '{give}' $list $path {listed}; done
""")
        alerts = {row["path"].removeprefix(f"{lab.real}/"): row["text"] for row in summary(scan(lab.layers))["alerts"]}
        assert {path: text for path, text in alerts.items() if not path.startswith("proj")} == {
            "new/kept": "runs as root", "new/deep/able": "has capabilities", "bin/other": "has capabilities",
            "new/list": LIST, "etc/list": LIST, "new/deep": LIST, "new/open": "anybody may write it",
            "etc/plain": "anybody may write it",
        }  # fmt: skip

    def test_a_service_is_told_once(self, lab: Lab) -> None:
        """A unit that is added and enabled, with its init script beside it, is one enabled service."""
        where = "mkdir -p etc/systemd/system/multi-user.target.wants etc/init.d; cd etc/systemd/system;"
        lab.view(f"{where} echo x > cat.service; ln -s ../cat.service multi-user.target.wants/; echo x > ../../init.d/cat")
        found = summary(Changes((*_below(scan(lab.layers), f"{lab.real}"),)))
        assert found["services"] == [{"name": "cat.service", "change": "enabled"}]

    def test_what_came_to_nothing_is_not_listed(self, lab: Lab) -> None:
        """Rewritten with the same content, created and deleted, changed and changed back."""
        lab.view("echo 'old line' > etc/conf; echo x > etc/brief; rm etc/brief; chmod 600 etc/gone; chmod 644 etc/gone")
        changes = scan(lab.layers)
        data = summary(changes)
        assert (data["counts"]["added"], data["counts"]["changed"], data["counts"]["removed"]) == (0, 0, 0)
        assert data["files"] == []
        assert render(data) == ""

    def test_a_fifo_or_a_device_in_the_way_does_not_hang_the_listing(self, lab: Lab) -> None:
        """Nothing but regular files is ever opened for reading."""
        lab.bash("mkfifo etc/pipe")
        lab.view("rm etc/conf; mkfifo etc/conf; rm etc/pipe; echo file > etc/pipe; mkfifo bin/pipe")
        began = time.monotonic()
        assert summary(scan(lab.layers))["counts"]["changed"] == 2
        assert time.monotonic() - began < 5


def test_a_disk_that_was_taken_away_is_left_out_and_named(tmp_path: Path) -> None:
    """Where a layer is gone with its file system the others are told as they are, and a commit knows of the same layers."""
    real, run = tmp_path / "real", tmp_path / "run"
    stick, upper = Layer(str(tmp_path / "stick"), str(tmp_path / "stick/up")), tmp_path / "upper"
    real.mkdir()
    upper.mkdir()
    (upper / "new").write_text("x")
    Layers(tmp_path, time.time_ns(), "R", "identity", (stick, Layer(str(real), str(upper)))).save(run)
    told = Work(run).scan()
    assert [row["path"] for row in told["kept_out"]] == [stick.target]
    assert told["counts"]["added"] == 1
    assert [layer.target for layer in Layers.load(run).items] == [str(real)]
