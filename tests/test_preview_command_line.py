"""Preview, dry run, commit and undo as a person types them, on a throw-away machine with a disk of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sysconfig
from pathlib import Path
from typing import Any

from tests.test_preview_end_to_end import ENTER, ROOT, image, pytestmark

__all__ = ["image", "pytestmark"]

TYPE = """
manifest() { python3 - "$1" <<'END'
import json, sys
from pathlib import Path
from tests.lab import manifest
leave = ("proc", "sys", "dev", "run", "tmp", "code", "packages", "result", "lost+found", "root/.local", "home/dev/.local/state")
Path(f"/tmp/{sys.argv[1]}.json").write_text(json.dumps(manifest(Path("/"), skip=leave), default=repr))
END
}
as() {
  local user=$1; shift
  setpriv --reuid=$user --regid=$user --init-groups env HOME=$(getent passwd $user | cut -d: -f6) USER=$user LOGNAME=$user \\
    NO_COLOR=1 bash -c 'cd; exec "$@"' as "$@"
}
run() { as $WHO python3 -m skillrun "$@" --model builtin </dev/null; echo "exit $?"; }
chmod 755 /root
as $WHO mkdir -p .local/state/skillrun/runs
"""
TOOL = """---
name: tool
description: A tool.
metadata:
  skillrun-verify: 'test -x "$HOME/bin/tool"'
---
# Tool
```bash
mkdir -p ~/bin && cp /bin/true ~/bin/tool && echo 'PATH=~/bin:$PATH' >> ~/.bashrc
```
"""
AFTER = """
python3 -c 'import json; print(json.dumps({n: json.load(open(f"/tmp/{n}.json")) for n in "ABCD"}))' > /result/manifests
"""


def typed(image: Path, place: Path, who: str, script: str) -> tuple[str, dict[str, dict[str, Any]]]:
    """What a script of commands wrote, and the manifests A to D that it took."""
    at, result = place / "at", place / "result"
    at.mkdir()
    result.mkdir()
    subprocess.run(["cp", "--sparse=always", str(image), str(place / "image")], check=True)
    enter = ENTER.replace("exec python3 /code/tests/inside_machine.py", "exec bash -c")
    enter = enter.replace('cd "$AT"; pivot', 'mkdir "$AT/result"; mount --bind "$RESULT" "$AT/result"; cd "$AT"; pivot')
    environment = {
        **os.environ,
        "IMAGE": str(place / "image"),
        "AT": str(at),
        "CODE": str(ROOT),
        "PACKAGES": sysconfig.get_paths()["purelib"],
        "RESULT": str(result),
        "WHO": who,
    }
    apart = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--propagation", "private"]
    command = [*apart, "bash", "-c", enter, "enter", TYPE + script + AFTER]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (result / "manifests").exists(), done.stdout + done.stderr
    return done.stdout + done.stderr, json.loads((result / "manifests").read_text())


def changed(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """Paths that differ."""
    return [path for path in sorted(one.keys() | other.keys()) if one.get(path) != other.get(path)]


def the_whole_story(image: Path, place: Path, who: str, skill: str, tier: str, before: str = "") -> None:
    """Dry run and unanswered preview leave nothing, preview commits and verifies, undo equals the machine before."""
    script = (
        before
        + f"""
manifest A
run install {skill} --dry-run --approve all
run install {skill} --preview
manifest B
run install {skill} --preview --approve all
manifest C
as $WHO python3 -m skillrun undo last --approve all </dev/null; echo "exit $?"
manifest D
"""
    )
    said, found = typed(image, place, who, script)
    codes = [line for line in said.splitlines() if line.startswith("exit ")]
    assert codes == ["exit 0", "exit 4", "exit 0", "exit 0"], said
    firsts = [line for line in said.splitlines() if line.startswith("skillrun: install")]
    assert len(firsts) == 3, said
    assert all(f"(tier {tier})" in line for line in firsts), said
    assert changed(found["A"], found["B"]) == []
    assert changed(found["B"], found["C"]) != []
    back = [path for path in changed(found["A"], found["D"]) if not path.startswith("var/lib/skillrun")]
    assert back == []  # what was taken back is kept by skillrun, so that undo can be undone


def test_as_root(image: Path, tmp_path: Path) -> None:
    """A package of the distribution, by root."""
    the_whole_story(image, tmp_path, "root", "jq", "R")


def test_as_an_ordinary_user_with_sudo(image: Path, tmp_path: Path) -> None:
    """The same by a user who may use sudo: inside the view they are themselves, and sudo works."""
    allow = "echo 'dev ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/dev; echo 127.0.0.1 $(hostname) >> /etc/hosts\n"
    the_whole_story(image, tmp_path, "dev", "jq", "R", allow)


def test_as_an_ordinary_user_without_sudo(image: Path, tmp_path: Path) -> None:
    """An installation below the home directory, by a user without any rights."""
    skill = "/home/dev/tool"
    write = f"rm -f /etc/sudoers.d/dev; as dev mkdir {skill}; as dev tee {skill}/SKILL.md >/dev/null <<'END'\n{TOOL}END\n"
    the_whole_story(image, tmp_path, "dev", skill, "U", write)


def test_files_of_others_in_the_home_directory_are_named_first(image: Path, tmp_path: Path) -> None:
    """A user view cannot change them: it says so before anything is done."""
    skill = "/home/dev/tool"
    write = f"rm -f /etc/sudoers.d/dev; as dev mkdir {skill}; as dev tee {skill}/SKILL.md >/dev/null <<'END'\n{TOOL}END\n"
    script = (
        f"{write}touch /home/dev/of-root\nrun install {skill} --dry-run --approve all\nfor n in A B C D; do manifest $n; done\n"
    )
    said, _ = typed(image, tmp_path, "dev", script)
    assert "warning: cannot be changed in this view, since they belong to others: /home/dev/of-root" in said
    assert said.index("belong to others") < said.index("step 1")
