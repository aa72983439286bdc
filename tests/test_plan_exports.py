"""A plan in the words of other tools, each really carried out; what a format cannot say is refused with the reason."""

import json
import os
import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from skillrun.plans.exports import FORMATS, CannotSay, export
from skillrun.plans.exports.operations import operations
from skillrun.plans.exports.quoting import content, placed
from skillrun.plans.exports.rights import elevated, without_sudo
from skillrun.plans.exports.yaml import dump
from skillrun.plans.looking import guard
from skillrun.plans.plan import Answer, Condition, Plan, PlanInput, Postcondition, Step
from skillrun.record.guarded import guarded
from skillrun.sandbox.machine import Machine
from tests.lab import real_installs

HERE = (Condition("distribution", "debian|ubuntu", "for these tests"),)
ON_12 = (Condition("distribution", "debian", "step 1 names its packages"), Condition("release", "12", "proven on it"))


def plan(*steps: Step, checks: tuple[str, ...] = ("test -e ~/made/x",), **more: object) -> Plan:
    """A plan of these steps."""
    return Plan("made", "sha256:1", more.pop("conditions", HERE), steps, checks, **more)  # type: ignore[arg-type]


SMALL = plan(
    Step(run="mkdir -p ~/made", leaves=(Postcondition("directory", "{{home}}/made"),), complete=True),
    Step(
        path="{{home}}/made/conf",
        content="home={{home}}\nport={{PORT}} $HOME 'q' \"d\"\n",
        mode="0640",
        leaves=(Postcondition("file", "{{home}}/made/conf"),),
        complete=True,
    ),
    Step(
        run="printf '%s' '{{home}}|'\"{{PORT}}|\"{{PORT}} > x",
        directory="{{home}}/made",
        environment={"LC_ALL": "C"},
        umask="077",
        leaves=(Postcondition("file", "{{home}}/made/x"),),
        complete=True,
    ),
    inputs=(PlanInput("PORT", "Which port?", "8080"),),
)
"""Nothing but a home directory: a file, an input in every kind of quotes, a directory, variables and a umask of its own."""


def run(text: str, home: Path, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
    """A bash script with a home directory of its own."""
    env = {"HOME": str(home), "PATH": os.environ["PATH"], **env}
    argv = ["bash", "-c", text, "script", *words]
    return subprocess.run(argv, env=env, cwd=home, capture_output=True, text=True, check=False)


def test_the_script_does_it_once_and_says_when_there_is_nothing_to_do(tmp_path: Path) -> None:
    """First a dry run, which does nothing; then the work; then nothing, and that is said."""
    script = export("bash", SMALL)
    dry = run(script, tmp_path, "--dry-run")
    assert (dry.returncode, "nothing was changed" in dry.stdout) == (0, True), dry.stderr
    assert not (tmp_path / "made").exists()
    done = run(script, tmp_path, PORT="99")
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "made/x").read_text() == f"{tmp_path}|99|99"
    assert (tmp_path / "made/conf").read_text() == f"home={tmp_path}\nport=99 $HOME 'q' \"d\"\n"
    assert oct((tmp_path / "made/conf").stat().st_mode)[-4:] == "0640"
    assert oct((tmp_path / "made/x").stat().st_mode)[-3:] == "600"
    again = run(script, tmp_path)
    assert (again.returncode, "works already" in again.stdout) == (0, True)
    (tmp_path / "made/x").unlink()
    part = run(script, tmp_path)
    assert [line for line in part.stdout.splitlines() if line.startswith("step")] == ["step 3 of 3: " + SMALL.steps[2].words]
    assert run(script, tmp_path, "--wrong").returncode == 2


def test_the_script_stops_where_something_differs(tmp_path: Path) -> None:
    """Another end than expected, another distribution, a check that fails: exit code 3, and which."""
    failed = run(export("bash", plan(Step(run="ls /nowhere"), Step(run="touch ~/no"))), tmp_path)
    assert (failed.returncode, "step 1 ended with 2" in failed.stderr) == (3, True)
    assert not (tmp_path / "no").exists()
    other = run(
        export("bash", plan(Step(run="true"), conditions=(Condition("distribution", "haiku", "its packages"),))), tmp_path
    )
    assert (other.returncode, "its packages" in other.stderr) == (3, True)
    unmet = run(export("bash", plan(Step(run="true"))), tmp_path)
    assert (unmet.returncode, "checks do not pass" in unmet.stderr) == (3, True)


def test_a_service_may_come_up_a_moment_after_its_start_has_ended(tmp_path: Path) -> None:
    """Neither the script nor the look of a replay misses it at once; one that never comes up is missed."""
    (tmp_path / "service").write_text('#!/bin/sh\n[ -e "$HOME/up" ]\n')
    (tmp_path / "service").chmod(0o755)
    left = (Postcondition("service", "made"),)
    slow = Step(run="{ sleep 0.5; touch ~/up; } > /dev/null 2>&1 &", leaves=left, complete=True)
    never = Step(run="true", leaves=left, complete=True)
    path = f"{tmp_path}:{os.environ['PATH']}"
    for step, wanted in ((slow, 0), (never, 3)):
        (tmp_path / "up").unlink(missing_ok=True)
        done = run(export("bash", plan(step, checks=("true", "test -e ~/up"))), tmp_path, PATH=path)
        assert done.returncode == wanted, done.stdout + done.stderr
        (tmp_path / "up").unlink(missing_ok=True)
        looked = run(guarded(step.run, guard(step, {"home": str(tmp_path)})), tmp_path, PATH=path)
        assert bool(looked.returncode) is bool(wanted), looked.stderr


def test_a_step_may_end_as_it_did_and_be_answered(tmp_path: Path) -> None:
    """An expected failure goes on; an answer is typed, with the input that stands for it."""
    asked = Step(run="mkdir -p ~/made; read -r a; touch ~/made/$a", answers=(Answer("Which?", "{{NAME}}"),))
    made = plan(Step(run="false", ends=1), asked, inputs=(PlanInput("NAME", "Which?", "x"),))
    assert run(export("bash", made), tmp_path).returncode == 0


def test_lists_that_serve_an_install_are_not_fetched_when_there_is_nothing_to_install(tmp_path: Path) -> None:
    """A step that leaves nothing to look at runs for the sake of those behind it only."""
    serving = Step(run="touch ~/fetched", complete=True)
    done = Step(run="false", leaves=(Postcondition("directory", "{{home}}"),), complete=True)
    assert run(export("bash", plan(serving, done)), tmp_path).returncode == 3
    assert not (tmp_path / "fetched").exists()


SUDO = [
    ("sudo apt-get install -y jq", "apt-get install -y jq"),
    ("sudo -E env A=1 make install", "env A=1 make install"),
    ("sudo DEBIAN_FRONTEND=noninteractive apt-get install -y jq", "env DEBIAN_FRONTEND=noninteractive apt-get install -y jq"),
    ("sudo -u postgres createdb x", "runuser -u postgres -- createdb x"),
    ("sudo --user=postgres psql -c 'select 1'", "runuser -u postgres -- psql -c 'select 1'"),
    ("sudo -u root id", "id"),
    ("echo x | sudo tee /etc/x > /dev/null", "echo x | tee /etc/x > /dev/null"),
    ("cd /x && sudo make install; sudo ldconfig", "cd /x && make install; ldconfig"),
    ("if sudo test -e /x; then\n  sudo rm /x\nfi", "if test -e /x; then\n  rm /x\nfi"),
    ("x=$(sudo cat /x)", "x=$(cat /x)"),
    ("echo 'sudo rm x'", "echo 'sudo rm x'"),
    ('echo "use sudo -u x"', 'echo "use sudo -u x"'),
    ("sudoedit /x", "sudoedit /x"),
    ("grep sudo /etc/group", "grep sudo /etc/group"),
    ("cat > x <<'E'\nsudo reboot\nE\n", None),
    ("xargs sudo rm", "xargs sudo rm"),
    ("if broken", None),
]


@pytest.mark.parametrize(("text", "wanted"), SUDO)
def test_sudo_is_taken_out_of_commands_and_of_nothing_else(text: str, wanted: str | None) -> None:
    """Text that only looks like it stays; what cannot be told for sure is refused."""
    if wanted is None:
        with pytest.raises(CannotSay):
            without_sudo(text)
    else:
        assert without_sudo(text) == wanted


ELEVATED = [
    ("sudo apt-get update", ("root", "apt-get update")),
    ("sudo -n -u www-data touch x", ("www-data", "touch x")),
    ("apt-get update", ("", "apt-get update")),
    ("sudo a && b", ("", "sudo a && b")),
    ("sudo a | b", ("", "sudo a | b")),
    ("sudo A=1 b", ("root", "env A=1 b")),
]


@pytest.mark.parametrize(("text", "wanted"), ELEVATED)
def test_whose_rights_a_step_takes(text: str, wanted: tuple[str, str]) -> None:
    """Only a step that is one command as a whole is another account's."""
    assert elevated(text) == wanted


OPERATIONS = [
    ("sudo apt-get update -q", "refresh", ()),
    ("apt-get update", "shell", ()),
    ("sudo apt install -y jq --no-install-recommends", "packages", ("jq",)),
    ("sudo apt-get install -t backports jq", "shell", ()),
    ("mkdir -p ~/a", "directory", ()),
    ("mkdir -p a", "shell", ()),
    ("ln -sfn /a ~/b", "link", ()),
    ("ln -f /a ~/b", "shell", ()),
    ("sudo systemctl enable --now x", "service", ("x",)),
    ("sudo systemctl enable x", "shell", ()),
    ("systemctl --user restart x", "shell", ()),
    ("sudo service x stop", "shell", ()),
]


@pytest.mark.parametrize(("text", "kind", "names"), OPERATIONS)
def test_only_what_a_module_means_is_said_by_it(text: str, kind: str, names: tuple[str, ...]) -> None:
    """Other options, other rights or a path that depends on a directory: then it is shell text."""
    (operation,) = operations(plan(Step(run=text)))
    assert (operation.kind, operation.names) == (kind, names)


def test_a_service_is_started_anew_when_a_file_written_for_it_changes() -> None:
    """By a handler that the file's task notifies; where no file is written there is none."""
    written = Step(path="/etc/x.conf", content="a\n")
    (play,) = yaml.safe_load(export("ansible", plan(written, Step(run="sudo service x start"))))
    assert [task["notify"] for task in play["tasks"][2]["block"] if "notify" in task] == [["Restart x"]]
    assert [handler["name"] for handler in play["handlers"]] == ["Restart x"]
    assert "handlers" not in yaml.safe_load(export("ansible", plan(Step(run="sudo service x start"))))[0]


PLACED = [
    "echo {{V}}",
    'echo "{{V}}"',
    "echo '{{V}}'",
    "echo 'it'\"'\"'s {{V}}'",
    'echo "a \\" {{V}}" \'{{V}}\'',
    "printf %s {{V}}/x\\'",
    "echo a\\\\{{V}}",
]


@pytest.mark.parametrize("text", PLACED)
def test_a_variable_means_the_value_in_any_quotes(text: str, tmp_path: Path) -> None:
    """What bash makes of the text with a variable is what it makes of the text with the value."""
    meant = run(text.replace("{{V}}", "va-lue"), tmp_path).stdout
    assert run(placed(text, {"V": "W"}), tmp_path, W="va-lue").stdout == meant
    if "'" not in text.replace("'{{V}}'", ""):
        assert run(placed(text, {"V": "W"}), tmp_path, W="a b").returncode == 0


def test_a_value_in_a_document_that_is_taken_as_it_is_is_refused(tmp_path: Path) -> None:
    """A variable would not be expanded there."""
    with pytest.raises(CannotSay, match="here-document"):
        placed("cat > x <<'E'\n{{V}}\nE", {"V": "W"})
    assert run(f"printf %s {content('a {{V}} $x', {'V': 'W'})}", tmp_path, W="b").stdout == "a b $x"


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_can_say_a_small_plan(form: str) -> None:
    """And is what it claims to be: YAML, TOML, Python, instructions."""
    try:
        text = export(form, SMALL)
    except CannotSay as error:
        assert form == "cloud-init"
        assert "one person" in str(error)  # noqa: PT017
        return
    if form == "ansible":
        assert yaml.safe_load(text)[0]["hosts"] == "all"
    elif form == "mise":
        assert set(tomllib.loads(text)["tasks"]) == {"install-made", "check-made"}
    elif form == "pyinfra":
        compile(text, "deploy.py", "exec")


REFUSED = [
    ("dockerfile", Step(run="sudo service nginx start", effects=("service nginx",)), "starts a service"),
    ("dockerfile", Step(run="login {{secret:TOKEN}}"), "secret"),
    ("dockerfile", Step(run="read a", answers=(Answer("q", "a"),)), "terminal"),
    ("dockerfile", Step(run="false", ends=1), "ends an image"),
    ("cloud-init", Step(run="touch ~/x"), "one person"),
    ("cloud-init", Step(run="sudo login {{secret:TOKEN}}"), "user data"),
    ("pyinfra", Step(run="login {{secret:TOKEN}}"), "log"),
]


@pytest.mark.parametrize(("form", "step", "reason"), REFUSED)
def test_what_a_format_cannot_say_is_refused_with_the_reason(form: str, step: Step, reason: str) -> None:
    """Never left out in silence."""
    with pytest.raises(CannotSay, match=reason):
        export(form, plan(step))


@pytest.mark.parametrize(
    "value",
    [
        {
            "a": [
                "x",
                "yes",
                "1",
                "",
                "a: b",
                "- c",
                "#",
                "t\tb",
                "line\nline\n",
                "l\n\n",
                " lead",
                "trail ",
                "multi\n  in\nend",
            ]
        },
        [{"a": {"b": [{"c": True, "d": 3}]}}, {"e": "{{ x }}"}],
        [{"k": "|-\n"}, {"k": "\n"}, {"k": "é\x7f\x01"}],
    ],
)
def test_what_is_written_as_yaml_is_read_back(value: object) -> None:
    """Whatever a command holds."""
    assert yaml.safe_load(dump(value)) == value


# --- carried out for real ----------------------------------------------------------------------------

APT = plan(
    Step(run="sudo apt-get update", complete=True),
    Step(
        run="sudo DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends bc netcat-openbsd",
        leaves=(Postcondition("package", "apt:bc", "1"), Postcondition("package", "apt:netcat-openbsd", "1")),
        complete=True,
    ),
    Step(run="mkdir -p ~/made", leaves=(Postcondition("directory", "{{home}}/made"),), complete=True),
    Step(run="ln -sf /usr/bin/bc ~/made/x", leaves=(Postcondition("link", "{{home}}/made/x", "/usr/bin/bc"),), complete=True),
    Step(run="sudo -u games touch /var/games/score", leaves=(Postcondition("file", "/var/games/score"),), complete=True),
    Step(
        path="{{home}}/made/conf",
        content="home={{home}} {{ braces }} {% x %}\n",
        leaves=(Postcondition("file", "{{home}}/made/conf"),),
    ),
    Step(run="echo '2+2' | bc > ~/made/four", leaves=(Postcondition("file", "{{home}}/made/four"),), complete=True),
    checks=("[ $(echo 6*7 | bc) = 42 ]", "test -e ~/made/four"),
    conditions=ON_12,
)
SERVICE = plan(
    Step(run="sudo apt-get update", complete=True),
    Step(
        run="sudo apt-get install -y redis-server", leaves=(Postcondition("package", "apt:redis-server", "1"),), complete=True
    ),
    Step(
        run="sudo service redis-server start",
        effects=("service redis-server",),
        leaves=(Postcondition("service", "redis-server"),),
    ),
    checks=('[ "$(redis-cli ping)" = PONG ]',),
    conditions=ON_12,
)
SOUND = """
set -e
[ $(echo 6*7 | bc) = 42 ]; [ "$(readlink ~/made/x)" = /usr/bin/bc ]; [ "$(stat -c %U /var/games/score)" = games ]
[ "$(cat ~/made/four)" = 4 ]; grep -qxF "home=$HOME {{ braces }} {% x %}" ~/made/conf
"""


@contextmanager
def tools() -> Iterator[Machine]:
    """A fresh machine with the tools on it."""
    from tests.export_machine import ground

    with Machine(ground(), user="dev") as made:
        yield made


def put(machine: Machine, name: str, text: str) -> str:
    """A file in the user's home directory inside."""
    machine.view.write(f"{machine.account.home}/{name}", text.encode(), 0o644)
    return f"{machine.account.home}/{name}"


def did(machine: Machine, text: str, **more: object) -> str:
    """A command that has to end well; what it printed."""
    done = machine.run(text, **{"timeout": 240, **more})  # type: ignore[arg-type]
    assert done.returncode == 0, f"{text}\n{done.stdout[-4000:]}"
    return done.stdout


MODULES = """datasource_list: [NoCloud]
network: {config: disabled}
cloud_init_modules: []
cloud_config_modules: [runcmd]
cloud_final_modules: [package_update_upgrade_install, scripts_user]
"""
"""What of cloud-init is for such user data; the rest would set up the disks and names of a real machine."""
HOSTS = "box ansible_host=127.0.0.1 ansible_port=2222 ansible_user=dev ansible_python_interpreter=/usr/bin/python3\n"
real = [*real_installs]


class TestCarriedOut:
    """In throw-away machines, by the tools themselves."""

    pytestmark = real

    def test_bash(self) -> None:
        """Twice: the second run changes nothing."""
        with tools() as machine:
            path = put(machine, "i.sh", export("bash", APT))
            did(machine, "mkdir -p /var/games && chown games /var/games", root=True)
            did(machine, f"bash {path} --dry-run && ! command -v bc")
            did(machine, f"bash {path}")
            did(machine, SOUND)
            assert "works already" in did(machine, f"bash {path}")

    def test_dockerfile(self) -> None:
        """Its RUN lines, in a root as the image would have it: no sudo, no user."""
        lines = export("dockerfile", APT).splitlines()
        assert lines[1] == "FROM debian:12"
        with tools() as machine:
            did(machine, "mkdir -p /var/games && chown games /var/games; rm /usr/bin/sudo", root=True)
            for line in lines:
                word, _, text = line.partition(" ")
                if word == "RUN":
                    text = json.loads(text)[2] if text.startswith("[") else text
                    did(machine, f"cd /root\n{text}", root=True)
            did(machine, SOUND, root=True)

    def test_ansible(self) -> None:
        """Over a real sshd: check mode tells and changes nothing, the second run reports no change, the linter is content."""
        with tools() as machine:
            from tests.export_machine import SSHD

            did(machine, SSHD + "; mkdir -p /var/games && chown games /var/games", root=True)
            did(machine, "apt-get update -qq", root=True)  # check mode may not fetch lists, and knows no package without
            path = put(machine, "site.yml", export("ansible", APT))
            put(
                machine,
                "hosts",
                "box ansible_host=127.0.0.1 ansible_port=2222 ansible_user=dev ansible_python_interpreter=/usr/bin/python3\n",
            )
            env = "ANSIBLE_HOST_KEY_CHECKING=False ANSIBLE_NOCOLOR=1 PATH=/opt/tools/bin:$PATH"
            play = f"cd && {env} ansible-playbook -i hosts {path}"
            told = did(machine, f"{play} --check --diff")
            assert re.search(r"changed=[1-9].*failed=0", told), told
            assert "+home=/home/dev {{ braces }} {% x %}" in told, told
            assert re.search(r"path.*/home/dev/made", told), told
            did(machine, "! command -v bc && [ ! -e ~/made ]")
            first = did(machine, play)
            assert re.search(r"changed=[1-9].*failed=0", first), first
            did(machine, SOUND)
            second = did(machine, play)
            assert re.search(r"changed=0\s.*failed=0", second), second
            lint = machine.run(f"cd && {env} ansible-lint --offline -q --nocolor -f pep8 site.yml", timeout=300)
            assert lint.returncode == 0, lint.stdout[-3000:]

    def test_ansible_with_a_service(self) -> None:
        """A service is the service module's; the play leaves it running."""
        with tools() as machine:
            from tests.export_machine import SSHD

            did(machine, SSHD, root=True)
            path = put(machine, "site.yml", export("ansible", SERVICE))
            put(
                machine,
                "hosts",
                "box ansible_host=127.0.0.1 ansible_port=2222 ansible_user=dev ansible_python_interpreter=/usr/bin/python3\n",
            )
            env = "ANSIBLE_HOST_KEY_CHECKING=False ANSIBLE_NOCOLOR=1 PATH=/opt/tools/bin:$PATH"
            did(machine, f"cd && {env} ansible-playbook -i hosts {path}")
            did(machine, '[ "$(redis-cli ping)" = PONG ]')
            assert "changed=0 " in did(machine, f"cd && {env} ansible-playbook -i hosts {path}")

    def test_pyinfra(self) -> None:
        """Facts decide: the second run has nothing to do."""
        with tools() as machine:
            did(machine, "mkdir -p /var/games && chown games /var/games", root=True)
            put(machine, "deploy.py", export("pyinfra", APT))
            did(machine, "cd && /opt/tools/bin/pyinfra -y @local deploy.py", timeout=300)
            did(machine, SOUND)
            again = did(machine, "cd && /opt/tools/bin/pyinfra -y @local deploy.py")
            assert "bc" not in again, again
            assert re.search(r"Grand total\s+-\s+-\s+-\s+-", again), again

    def test_cloud_init(self) -> None:
        """cloud-init's own schema accepts it, and cloud-init carries it out as on a machine's first boot, without an error."""
        with tools() as machine:
            path = put(machine, "user-data", export("cloud-init", SERVICE))
            did(machine, f"cloud-init schema --config-file {path}", root=True)
            seed = "/var/lib/cloud/seed/nocloud"
            did(machine, f"mkdir -p {seed} && cp {path} {seed}/ && echo 'instance-id: made' > {seed}/meta-data", root=True)
            did(machine, f"cp {put(machine, 'modules', MODULES)} /etc/cloud/cloud.cfg.d/99_made.cfg", root=True)
            for stage in ("init --local", "init", "modules --mode=config", "modules --mode=final"):
                did(machine, f"cloud-init {stage}", root=True)
            assert json.loads(did(machine, "cat /run/cloud-init/result.json", root=True))["v1"]["errors"] == []
            did(machine, '[ "$(redis-cli ping)" = PONG ]')

    def test_mise(self) -> None:
        """Its tasks install and check."""
        with tools() as machine:
            did(machine, "mkdir -p /var/games && chown games /var/games", root=True)
            put(machine, "mise.toml", export("mise", APT))
            mise = "cd && export PATH=/opt/mise/bin:/opt/node/bin:$PATH MISE_YES=1 && mise trust -q mise.toml && mise run"
            assert machine.run(f"{mise} check-made").returncode != 0
            did(machine, f"{mise} install-made")
            did(machine, SOUND)
            did(machine, f"{mise} check-made")


def test_the_tools_are_for_tests_alone() -> None:
    """No configuration tool is a dependency of ours."""
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    assert not [name for name in project["dependencies"] if re.match("ansible|pyinfra|mise|cloud", name)]
    assert shutil.which("bash")
