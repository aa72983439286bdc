"""`undo` of real package managers' work, on throw-away machines: exactly what a run added goes, nothing that came later."""

from __future__ import annotations

from skillrun.sandbox.machine import Machine
from tests.boxed import box, said
from tests.lab import real_installs

pytestmark = real_installs


def skill(machine: Machine, name: str, check: str, commands: str) -> None:
    """Put a skill into the user's home."""
    head = f"---\nname: {name}\ndescription: Test.\nmetadata:\n  skillrun-verify: '{check}'\n---\n# {name}\n## Install\n"
    machine.view.write(f"{machine.account.home}/{name}.md", f"{head}```bash\n{commands}\n```\n".encode())


def skillrun(machine: Machine, words: str, code: int = 0) -> str:
    """A verb as the machine's user types it; its output."""
    text = said(machine, f"cd; python3 -m skillrun {words} --approve all </dev/null; echo code $?", root=False)
    assert text.endswith(f"code {code}\n"), text
    return text


def packages(machine: Machine) -> set[str]:
    """What dpkg says is installed; its records must be sound."""
    assert said(machine, "dpkg --audit") == ""
    return set(said(machine, "dpkg-query -W -f '${db:Status-Status} ${Package}\\n' | sed -n 's/^installed //p'").split())


def test_packages_that_came_later_stay_when_a_commit_is_undone() -> None:
    """By a user with sudo: dpkg removes what the run added, files of the run go, the later package and its record stay."""
    with box(user="dev", network="open") as machine:
        commands = "sudo apt-get update -qq\nsudo DEBIAN_FRONTEND=noninteractive apt-get install -y jq\necho x > ~/of-the-run"
        skill(machine, "query", "jq --version", commands)
        before = packages(machine)
        skillrun(machine, "install query.md --model builtin --preview")
        added = packages(machine) - before
        assert "jq" in added
        said(machine, "DEBIAN_FRONTEND=noninteractive apt-get install -y -qq tree libsqlite3-0 2>&1")
        later = packages(machine) - before - added
        assert "tree" in later

        text = skillrun(machine, "undo last")
        assert "dpkg --purge" in text
        assert packages(machine) == before | later
        assert said(machine, "tree --version; ls /usr/bin/jq /home/dev/of-the-run 2>&1", code=2).count("No such file") == 2
        assert said(machine, "dpkg --verify tree") == ""
        skillrun(machine, "undo last")
        assert packages(machine) == before | later | added


def test_a_package_that_something_later_needs_stops_the_undo() -> None:
    """dpkg's own refusal is shown, and nothing at all was taken back."""
    with box(user="root", network="open") as machine:
        commands = "apt-get update -qq\nDEBIAN_FRONTEND=noninteractive apt-get install -y libjq1\necho x > ~/of-the-run"
        skill(machine, "library", "test -e ~/of-the-run", commands)
        skillrun(machine, "install library.md --model builtin --preview")
        said(machine, "DEBIAN_FRONTEND=noninteractive apt-get install -y -qq jq 2>&1")
        held = packages(machine)
        text = skillrun(machine, "undo last", code=3)
        assert "nothing else was put back: dpkg refused" in text
        assert "libjq1" in text
        assert packages(machine) == held
        assert said(machine, "jq --version; cat ~/of-the-run").endswith("x\n")


def test_a_commit_is_taken_back_by_sudo_with_its_list_shown() -> None:
    """A user with sudo sees which paths go, like root does."""
    with box(user="dev", network="open") as machine:
        skill(machine, "note", "test -e /etc/note", "echo x | sudo tee /etc/note >/dev/null\necho y >> ~/.bashrc")
        skillrun(machine, "install note.md --model builtin --preview")
        text = skillrun(machine, "undo last")
        assert "take away /etc/note" in text
        assert "put back /home/dev/.bashrc" in text
        assert said(machine, "test -e /etc/note || tail -n 1 ~dev/.bashrc") != "y\n"


def test_a_live_run_of_three_package_managers() -> None:
    """apt, pip and npm without a preview: all added goes, all removed comes back; undone twice, it is there again."""
    with box(user="dev", name="debian-12-node", network="open") as machine:
        said(machine, "apt-get update -qq; DEBIAN_FRONTEND=noninteractive apt-get install -y -qq tree 2>&1")
        said(
            machine,
            "printf '[global]\\ncert=/etc/ssl/certs/ca-certificates.crt\\ndisable-pip-version-check=true\\n' > /etc/pip.conf",
        )
        said(machine, "pip install -q --user --break-system-packages colorama", root=False)
        commands = (
            "sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y jq\n"
            "sudo env DEBIAN_FRONTEND=noninteractive apt-get remove -y tree\n"
            "pip install --user --break-system-packages toolz\n"
            "pip uninstall -y --break-system-packages colorama\n"
            "npm install -g --prefix ~/.npm-global semver\n"
            "echo 'alias q=jq' >> ~/.bashrc"
        )
        skill(machine, "three", "jq --version && test -x ~/.npm-global/bin/semver", commands)
        nodes = "ls ~/.npm-global/lib/node_modules 2>/dev/null | grep -v ^[.]"
        state = f"pip list --user --format freeze | sort; {nodes}; tail -n 1 ~/.bashrc"
        before, shell = packages(machine), said(machine, state, root=False)
        skillrun(machine, "install three.md --model builtin")
        after, there = packages(machine), said(machine, state, root=False)
        assert "jq" in after
        assert "tree" not in after
        assert "toolz" in there
        assert "colorama" in shell
        assert "colorama" not in there
        assert "semver" in there

        text = skillrun(machine, "undo last")
        assert packages(machine) == before, text
        assert said(machine, state, root=False) == shell
        skillrun(machine, "undo last")
        assert packages(machine) == after
        assert said(machine, state, root=False) == there
