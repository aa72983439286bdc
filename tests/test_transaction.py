"""Commit, undo, redo and recovery on real overlays over sacrificial trees."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from skillrun.overlay.diff.changes import scan
from skillrun.overlay.transaction import exchange, workspace
from skillrun.overlay.transaction.commit import Conflict, commit, phase_of, recover, redo, undo
from skillrun.overlay.transaction.retention import drop
from skillrun.overlay.transaction.staging import store_place
from skillrun.overlay.transaction.wal import Phase, Plan
from skillrun.overlay.transaction.workspace import CommitError
from tests.faults import cut, die
from tests.lab import CASES, Lab, difference, ground, manifest, needs_overlay

ATTRIBUTES = (CASES / "attributes.sh").read_text()
SETUP = ATTRIBUTES + (CASES / "torture.setup.sh").read_text()
TORTURE = ATTRIBUTES + (CASES / "torture.sh").read_text()

pytestmark = [needs_overlay, pytest.mark.root, pytest.mark.overlay]


@pytest.fixture
def shm() -> Iterator[Path]:
    """A place in memory: where killing is tested, syncing to a disk proves nothing."""
    with ground() as base:
        yield base / "lab"


def test_a_commit_equals_doing_it_directly_and_undo_equals_never_having_done_it(tmp_path: Path) -> None:
    """Every kind of change: view + commit == bare, undo == before, redo == commit, by full manifest."""
    bare, lab = Lab(tmp_path / "bare"), Lab(tmp_path / "lab")
    for each in (bare, lab):
        each.bash(SETUP)
    before = manifest(lab.real)
    bare.bash(TORTURE)
    lab.view(TORTURE)
    assert difference(before, manifest(lab.real)) == {}

    changes = scan(lab.layers)
    assert commit(lab.layers, changes, lab.changes).phase is Phase.COMMITTED
    after = manifest(lab.real)
    assert difference(manifest(bare.real, times=False), manifest(lab.real, times=False)) == {}

    assert undo(lab.changes).phase is Phase.UNDONE
    assert difference(before, manifest(lab.real)) == {}
    assert redo(lab.changes).phase is Phase.COMMITTED
    assert difference(after, manifest(lab.real)) == {}
    assert phase_of(lab.changes) is Phase.COMMITTED


@pytest.fixture
def lab(shm: Path) -> Lab:
    """A small machine."""
    lab = Lab(shm)
    lab.bash("mkdir -p etc usr/bin dir/sub; for n in a b c d; do echo $n > etc/$n; done; echo x > dir/sub/x")
    return lab


def test_whole_directories_and_files_swap_between_kinds(lab: Lab) -> None:
    """File to directory and back, directory to link and back: commit and undo."""
    before = manifest(lab.real)
    lab.view("rm etc/a; mkdir etc/a; echo in > etc/a/in; rm -r dir; echo file > dir; rm etc/b; ln -s a etc/b; mv etc/c usr/c")
    commit(lab.layers, scan(lab.layers), lab.changes)
    assert (lab.real / "etc/a/in").read_text() == "in\n"
    assert (lab.real / "dir").read_text() == "file\n"
    assert os.readlink(lab.real / "etc/b") == "a"
    undo(lab.changes)
    assert difference(before, manifest(lab.real)) == {}


def test_links_are_replaced_singly_where_the_view_keeps_no_index(shm: Path) -> None:
    """Without index=on a written hard link is shown apart from its other names, and committed as it was shown."""
    lab = Lab(shm, options="index=off")
    lab.bash("echo one > a; ln a b")
    before = manifest(lab.real)
    lab.view("echo two >> a; cat b > seen")
    assert (lab.upper / "seen").read_text() == "one\n"
    commit(lab.layers, scan(lab.layers), lab.changes)
    assert (lab.real / "a").read_text() == "one\ntwo\n"
    assert (lab.real / "b").read_text() == "one\n"
    undo(lab.changes)
    assert difference(before, manifest(lab.real)) == {}


# --- conflicts ------------------------------------------------------------------------------------------

CONFLICTS = {
    "written": "echo mine >> etc/a",
    "replaced": "echo mine > n; mv n etc/a",
    "deleted": "rm etc/a",
    "appeared": "echo mine > etc/new",
    "attributes": "chmod 600 etc/a",
    "inside a deleted directory": "echo mine > dir/sub/mine",
    "file inside a deleted directory written": "echo mine > dir/sub/x",
    "directory where a file comes": "mkdir -p etc/new",
    "parent replaced by a directory": "mv usr usr.old; mkdir -p usr/bin",
    "parent replaced by a link": "mv usr usr.old; ln -s usr.old usr",
}
WORK = "echo ours > etc/a; echo ours > etc/new; rm -r dir; echo ours > usr/bin/tool"


@pytest.mark.parametrize("when", ["while the view is open", "between listing and commit"])
@pytest.mark.parametrize("kind", CONFLICTS)
def test_a_machine_that_changed_meanwhile_is_not_touched(lab: Lab, kind: str, when: str) -> None:
    """Whatever changed, the commit is refused by name and nothing is different afterwards."""
    lab.view(WORK)
    if when.startswith("while"):
        lab.bash(CONFLICTS[kind])
        changed = manifest(lab.real)
        with pytest.raises(CommitError):
            commit(lab.layers, scan(lab.layers), lab.changes)
    else:
        changes = scan(lab.layers)
        lab.bash(CONFLICTS[kind])
        changed = manifest(lab.real)
        with pytest.raises(CommitError):
            commit(lab.layers, changes, lab.changes)
    assert difference(changed, manifest(lab.real)) == {}
    assert recover(lab.changes) in (Phase.NONE, Phase.UNDONE)
    assert difference(changed, manifest(lab.real)) == {}


def test_a_file_a_program_is_writing_is_not_swapped_away(lab: Lab) -> None:
    """A file held open for writing is a conflict, though its content is as it was."""
    lab.view(WORK)
    changes = scan(lab.layers)
    with (lab.real / "etc/a").open("a"), pytest.raises(Conflict, match=r"etc/a is open for writing"):
        commit(lab.layers, changes, lab.changes)
    assert commit(lab.layers, changes, lab.changes).phase is Phase.COMMITTED


def test_a_directory_swapped_for_a_link_in_the_last_moment_is_not_followed(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """A parent is replaced right before the first rename: nothing lands outside, all is taken back."""
    outside = lab.base / "outside"
    outside.mkdir()
    lab.view("echo ours > etc/a; mkdir usr/lib; echo ours > usr/bin/tool; echo ours > dir/sub/y")
    changes = scan(lab.layers)
    original, seen = exchange.rename, []

    def attack(*args: object) -> None:
        if not seen:
            os.rename(lab.real / "dir", lab.real / "dir.old")
            os.symlink(outside, lab.real / "dir")
            (outside / "sub").mkdir()
        seen.append(args)
        original(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(exchange, "rename", attack)
    with pytest.raises(CommitError):
        commit(lab.layers, changes, lab.changes)
    assert list((outside / "sub").iterdir()) == []
    assert (lab.real / "etc/a").read_text() == "a\n"
    assert not (lab.real / "usr/lib").exists()


def test_a_file_changed_in_the_instant_of_the_exchange_is_put_back(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """The old inode is looked at after the exchange: a change that came in between wins, and nothing is half done."""
    lab.view(WORK)
    changes = scan(lab.layers)
    original = exchange.rename

    def late(*args: object) -> None:
        if args[3] == "a":
            (lab.real / "etc/a").write_text("written in the last instant\n")
        original(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(exchange, "rename", late)
    with pytest.raises(CommitError, match="etc/a"):
        commit(lab.layers, changes, lab.changes)
    assert (lab.real / "etc/a").read_text() == "written in the last instant\n"
    assert (lab.real / "dir/sub/x").read_text() == "x\n"
    assert not (lab.real / "etc/new").exists()


def test_one_commit_at_a_time(lab: Lab) -> None:
    """A second commit on the same tree waits, and gives up by name."""
    lab.view(WORK)
    changes = scan(lab.layers)
    tree = [str(lab.real)]
    with workspace.locked(tree), pytest.raises(CommitError, match="another commit"), workspace.locked(tree, wait_s=0.1):
        raise AssertionError("two at once")
    assert commit(lab.layers, changes, lab.changes).phase is Phase.COMMITTED


def test_logs_and_caches_never_stand_in_the_way(tmp_path: Path) -> None:
    """Where both sides wrote a log, the machine's own stays and the rest is committed."""
    lab = Lab(tmp_path / "tmp-is-passing")
    lab.bash("echo 1 > log; echo 1 > conf")
    lab.view("echo ours >> log; echo ours > conf")
    lab.bash("echo theirs >> log")
    done = commit(lab.layers, scan(lab.layers), lab.changes)
    assert (lab.real / "log").read_text() == "1\ntheirs\n"
    assert (lab.real / "conf").read_text() == "ours\n"
    assert done.left == (str(lab.real / "log"),)
    undo(lab.changes)
    assert (lab.real / "log").read_text() == "1\ntheirs\n"
    assert (lab.real / "conf").read_text() == "1\n"


# --- a part -----------------------------------------------------------------------------------------------


def test_only_and_except_choose_paths_also_inside_new_directories(lab: Lab) -> None:
    """Chosen paths with their parents, nothing else; undo takes exactly those back."""
    before = manifest(lab.real)
    lab.view("mkdir -p opt/app/{bin,doc/api}; cd opt/app; for n in bin/b doc/api/d README ../../etc/a; do echo n > $n; done")
    done = commit(
        lab.layers, scan(lab.layers), lab.changes, only=[f"{lab.real}/opt/**"], except_=[f"{lab.real}/opt/app/doc", "*README"]
    )
    now = manifest(lab.real, times=False)
    assert {path for path in now if path not in before} == {"opt", "opt/app", "opt/app/bin", "opt/app/bin/b"}
    assert (lab.real / "etc/a").read_text() == "a\n"
    assert str(lab.real / "etc/a") in done.left
    assert str(lab.real / "opt/app/doc/api/d") in done.left
    undo(lab.changes)
    assert difference(before, manifest(lab.real)) == {}


# --- the system underneath ---------------------------------------------------------------------------------


def test_without_exchange_the_same_in_three_steps(shm: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system whose renames know no flags: commit, undo, and a cut in the middle of an exchange."""
    original = exchange.rename

    def plain(*args: object) -> None:
        if args[4] != 0:
            raise OSError(errno.EINVAL, "flags are not known here")
        original(*args)  # type: ignore[arg-type]

    lab = Lab(shm)
    lab.bash(SETUP)
    before = manifest(lab.real)
    lab.view(TORTURE)
    monkeypatch.setattr(exchange, "rename", plain)
    commit(lab.layers, scan(lab.layers), lab.changes)
    after = manifest(lab.real)
    undo(lab.changes)
    assert difference(before, manifest(lab.real)) == {}
    redo(lab.changes)
    assert difference(after, manifest(lab.real)) == {}
    total = cut(lambda: undo(lab.changes), 0, die)[1]
    redo(lab.changes)
    for at in range(1, total, max(1, total // 40)):
        cut(lambda: undo(lab.changes), at, die)
        whole = after if recover(lab.changes) is Phase.COMMITTED else before
        assert difference(whole, manifest(lab.real)) == {}, f"undo cut at change {at}"
        if phase_of(lab.changes) is Phase.UNDONE:
            redo(lab.changes)


def test_an_upper_on_another_file_system_is_copied_beside_the_tree_first(tmp_path: Path, shm: Path) -> None:
    """Real tree on disk, upper in memory: commit == bare, undo == before, but for the store it needs."""
    bare, lab = Lab(tmp_path / "bare"), Lab(tmp_path / "lab")
    shm.mkdir()
    lab.tx, lab.upper, lab.work = shm, shm / "upper", shm / "work"
    lab.upper.mkdir(mode=0o755)
    lab.work.mkdir()
    for each in (bare, lab):
        each.bash(SETUP)
    before = manifest(lab.real)
    bare.bash(TORTURE)
    lab.view(TORTURE)
    commit(lab.layers, scan(lab.layers), lab.changes)
    shutil.rmtree(lab.upper)
    store = lab.real / ".skillrun-0"
    assert difference(manifest(bare.real, times=False), manifest(lab.real, times=False, skip=[store.name])) == {}
    undo(lab.changes)
    assert difference(before, manifest(lab.real, skip=[store.name])) == {}
    drop(lab.changes)
    assert not store.exists()


def test_every_run_keeps_copies_of_its_own(tmp_path: Path, shm: Path) -> None:
    """A second run commits beside the copies of the first, also where its own first try was cut while it copied."""
    lab = Lab(tmp_path / "lab")
    store = store_place(str(lab.real))
    runs = [tmp_path / f"{tmp_path.name}-{name}" / "changes" for name in ("one", "two")]
    for number, changes in enumerate(runs):
        changes.mkdir(parents=True)
        lab.tx = shm / changes.parent.name
        lab.upper, lab.work = lab.tx / "upper", lab.tx / "work"
        for folder in (lab.upper, lab.work):
            folder.mkdir(parents=True, mode=0o755)
        lab.view(f"echo {number} > {number}")
        lab.layers.save(changes)
        found = scan(lab.layers)
        (store / f"{changes.parent.name}-0" / "half").mkdir(parents=True)
        commit(lab.layers, found, changes)
    assert [(lab.real / str(number)).read_text() for number in (0, 1)] == ["0\n", "1\n"]
    for changes in reversed(runs):
        undo(changes)
        drop(changes)
    assert not list(lab.real.iterdir())
    assert not list(store.glob(f"{tmp_path.name}-*"))


def test_an_ordinary_user_commits_and_undoes_below_the_home_directory(user_lab: Lab) -> None:
    """All kinds of changes an ordinary user can make, in a user's own namespace, committed with that user's rights."""
    before = manifest(user_lab.real)
    user_lab.view_as_user(TORTURE)
    changes = scan(user_lab.layers)
    assert user_lab.as_user(lambda: commit(user_lab.layers, changes, user_lab.changes)) == 0
    assert (user_lab.real / "changed").read_text() == "new\n"
    assert (user_lab.real / "many/300").exists()
    assert user_lab.as_user(lambda: undo(user_lab.changes)) == 0
    assert difference(before, manifest(user_lab.real)) == {}


@pytest.fixture
def user_lab() -> Iterator[Lab]:
    """A home directory of user 1000."""
    with ground() as base:
        base.chmod(0o755)
        lab = Lab(base / "lab", options="userxattr")
        for path in (lab.base, lab.real, lab.tx, lab.changes, lab.upper, lab.work):
            os.chown(path, 1000, 1000)
        assert lab.as_user(lambda: lab.bash(SETUP)) == 0
        yield lab


def test_undo_touches_no_path_that_is_not_in_its_plan(shm: Path) -> None:
    """Property: random changes, a random part committed, random later files; what was never committed is untouched."""
    names = st.sampled_from(["a", "b", "c", "d/e", "d/f", "d/g/h", "n1", "n2/x", "n2/y"])
    change = st.tuples(st.sampled_from(["write", "delete", "mkdir", "chmod", "link"]), names)

    @settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(change, min_size=1, max_size=8), st.lists(names, max_size=3), st.booleans())
    def check(done: list[tuple[str, str]], excluded: list[str], later: bool) -> None:
        with ground() as base:
            lab = Lab(base / "lab")
            lab.bash("mkdir -p d/g; for n in a b c d/e d/f d/g/h; do echo $n > $n; done")
            before = manifest(lab.real)
            script = {
                "write": "mkdir -p $(dirname {0}) && echo new > {0}",
                "delete": "rm -rf {0}",
                "mkdir": "rm -rf {0}; mkdir -p {0}",
                "chmod": "chmod 700 {0}",
                "link": "mkdir -p $(dirname {0}) && ln -sfn a {0}",
            }
            lab.view("\n".join(f"{{ {script[kind].format(name)}; }} 2>/dev/null || true" for kind, name in done))
            changes = scan(lab.layers)
            commit(lab.layers, changes, lab.changes, except_=[f"{lab.real}/{name}" for name in excluded])
            committed = manifest(lab.real)
            plan = Plan.load(lab.changes)
            for path in committed.keys() | before.keys():
                if committed.get(path) != before.get(path) and path != ".":
                    covered = any(
                        path == op.path or path.startswith(op.path + "/") or op.path.startswith(path + "/") for op in plan.ops
                    )
                    touched = any(folder.path == path for folder in plan.folders)
                    assert covered or touched, path
            if later:
                (lab.real / "later").write_text("mine")
            undo(lab.changes)
            now = manifest(lab.real)
            if later:
                assert (lab.real / "later").read_text() == "mine"
                now = {path: facts for path, facts in now.items() if path != "later"}
                before["."] = now["."]
            assert difference(before, now) == {}

    check()
