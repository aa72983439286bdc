"""Throw-away machines: the recipes are sound, a machine is shut off from everything, and nothing of it stays behind."""

from __future__ import annotations

import fcntl
import html
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from skillrun.events import State, ToolCall
from skillrun.host.facts import gather
from skillrun.overlay.mount.machine import CAPABILITIES
from skillrun.overlay.process import supervisor
from skillrun.overlay.process.probe import probe
from skillrun.ports import Command, result_of
from skillrun.run.tools.files import read_file
from skillrun.sandbox import folders, recipes, registries
from skillrun.sandbox.base import layers_of
from skillrun.sandbox.machine import Machine, account_in
from skillrun.targets.machine import MachineTarget
from skillrun.trials import compare, matrix, trial
from skillrun.trials.trial import TrialResult
from tests.contracts.target import TargetContract
from tests.lab import apart

pytestmark = pytest.mark.timeout(900)  # whichever test comes first builds the base, on a busy machine in minutes
CLASSES = {"package-database", "python", "node", "native", "rights", "network", "services", "documentation", "resources"}


@pytest.fixture(scope="session")
def base() -> list[Path]:
    """The layers of the minimal machine, built now where no run before has; that takes a minute or two."""
    if probe().tier != "R":
        pytest.skip(f"no root and overlay here: {'; '.join(probe().reasons)}")
    return layers_of("debian-12")


@pytest.fixture
def machine(base: list[Path]) -> Iterator[Machine]:
    """A machine without a network."""
    with Machine(base, network="none") as made:
        yield made


@contextmanager
def machine_session(machine: Machine) -> Iterator[MachineTarget]:
    """A session in a machine, as a run has it."""
    with tempfile.TemporaryDirectory() as folder:
        target = MachineTarget(machine, Path(folder))
        try:
            yield target
        finally:
            target.close()


@pytest.mark.root
@pytest.mark.overlay
@pytest.mark.slow
class TestMachineTarget(TargetContract):
    @pytest.fixture
    def target(self, machine: Machine) -> Iterator[MachineTarget]:
        """A shell in a throw-away machine."""
        with machine_session(machine) as target:
            yield target


def root_tests(test: Callable[..., None]) -> Callable[..., None]:
    """Mark a test that needs a machine."""
    for mark in (pytest.mark.root, pytest.mark.overlay):
        test = mark(test)
    return test


# --- recipes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", recipes.names("machines"))
def test_machine_recipes_are_sound(name: str) -> None:
    """A machine is bootstrapped or made from one that there is, and says what it costs."""
    recipe = recipes.machine(name)
    assert bool(recipe.suite) != bool(recipe.base)
    assert recipe.title
    assert re.search(r"\d+ MB.*\d+ s|^not built by this project yet: ", recipe.measured)
    if recipe.base:
        recipes.machine(recipe.base)


@pytest.mark.parametrize("name", recipes.names("faults"))
def test_faults_are_sound(name: str) -> None:
    """A fault breaks something, says what and how to recognise it."""
    fault = recipes.fault(name)
    assert fault.title
    assert fault.breaks
    re.compile(fault.recognise)
    assert fault.net in ("open", "proxy", "none")
    does = (fault.setup.strip() not in ("", "true"), fault.runtime, fault.tmp, fault.disk_mb, fault.read_only, fault.env)
    assert any(does) or fault.net != "open"
    assert all(re.fullmatch(r"\w+=.*", pair) for pair in fault.env)


YARDSTICK = [f"yardstick/{name}" for name in recipes.names("scenarios/yardstick")]


@pytest.mark.parametrize("name", [*recipes.names("scenarios"), *YARDSTICK])
def test_scenarios_are_sound(name: str) -> None:
    """A scenario has its parts, what it names is there, and its verifier does not look at the skill."""
    scenario = recipes.scenario(name)
    recipes.machine(scenario.machine)
    faults = [recipes.fault(fault) for fault in scenario.faults]
    assert scenario.control or scenario.klass != "control"
    assert scenario.klass in CLASSES | {"control", "hostile"}
    assert all((scenario.title, scenario.skill.strip(), scenario.naive.strip(), scenario.verify.strip()))
    assert scenario.fix.strip() or scenario.refusal or scenario.control
    assert scenario.control or scenario.expect or any(fault.recognise for fault in faults)
    re.compile(scenario.expect)
    assert "task.md" not in scenario.verify


def test_there_are_enough_scenarios() -> None:
    """At least 40, of at least eight classes of fault, two controls and two hostile ones."""
    all_of_them = [recipes.scenario(name) for name in recipes.names("scenarios")]
    assert len(all_of_them) >= 40
    assert len({scenario.klass for scenario in all_of_them} & CLASSES) >= 8
    assert sum(scenario.control for scenario in all_of_them) >= 2
    assert sum(scenario.hostile for scenario in all_of_them) >= 2


def test_an_unknown_recipe_is_named_with_what_there_is() -> None:
    """The error says which name is unknown and which are known."""
    with pytest.raises(recipes.RecipeError, match=r"no fault 'nope'; there are: .*tmp-noexec"):
        recipes.fault("nope")


# --- isolation -----------------------------------------------------------------------------------------------------


@root_tests
def test_a_machine_has_its_own_of_everything(machine: Machine) -> None:
    """Own host name, namespaces, processes and users; nothing of the outside's files."""
    assert machine.run("hostname").stdout.strip() == "box"
    for kind in ("mnt", "pid", "ipc", "uts", "net"):
        inside = machine.run(f"readlink /proc/self/ns/{kind}").stdout.strip()
        assert inside.startswith(kind)
        assert inside != os.readlink(f"/proc/self/ns/{kind}")
    assert machine.run("id -un").stdout.strip() == "dev"
    numbers = [int(word) for word in machine.run("ls /proc").stdout.split() if word.isdigit()]
    assert len(numbers) < 8, "processes of the outside are seen"
    here = Path(__file__)
    assert machine.run(f"cat {here}", root=True).returncode != 0
    assert machine.run(f"ls {machine.folder}", root=True).returncode != 0


@root_tests
def test_a_kept_output_can_be_read_though_it_lies_outside(machine: Machine) -> None:
    """The file that is named where an output was shortened is read from the run's folder; no other file of the outside is."""
    with machine_session(machine) as target:
        result = result_of(target.run(Command("seq 20000")))
        assert "left out" in result.output
        read = read_file(
            ToolCall("r", "read_file", {"path": result.output_file, "limit": 20}), target, target.vault, str(target.outputs)
        )
        assert read.output.startswith("1")
        assert read.output_bytes == 20
        with pytest.raises(OSError, match=r"No such file|Permission denied"):  # its user may not even look where that would be
            read_file(ToolCall("r", "read_file", {"path": str(Path(__file__))}), target, target.vault, str(target.outputs))
        above = f"{target.outputs}/../{target.outputs.name}/x"
        with pytest.raises(OSError, match="No such file"):
            read_file(ToolCall("r", "read_file", {"path": above}), target, target.vault, str(target.outputs))


@root_tests
@pytest.mark.parametrize(
    "command",
    [
        "mount -t tmpfs none /mnt",
        "mknod /root/disk b 8 0 && head -c 1 /root/disk",
        "hostname other",
        "date -s '2001-01-01'",
        "echo 1 > /proc/sys/kernel/sysrq",
        "echo core > /proc/sys/kernel/core_pattern",
        "chroot /proc/1/root true && ls /proc/1/root/etc/hostname.outside",
        "ip link set lo down",
        "ip link add dummy0 type dummy",
        "nsenter -t 1 -m true",
        "dmesg | grep .",
    ],
)
def test_root_inside_has_no_power_over_the_kernel(machine: Machine, command: str) -> None:
    """What an install has no use for is refused to root too."""
    done = machine.run(command, root=True)
    assert done.returncode != 0, done.stdout


@root_tests
def test_root_inside_can_do_what_installing_needs(machine: Machine) -> None:
    """Own files, change owners, become another user: a refusal of everything would prove nothing."""
    done = machine.run("touch /opt/x && chown dev /opt/x && chmod 4755 /opt/x && runuser -u dev -- id -un", root=True)
    assert (done.returncode, done.stdout.strip()) == (0, "dev")


SOURCES = """
deb [arch=amd64] http://security.debian.org/debian wheezy main
deb http://security.debian.org/debian bookworm-updates main
deb https://packages.example.org/tool nodistro main
"""


@root_tests
def test_facts_tell_registries_that_are_sent_elsewhere_and_sources_of_another_release(machine: Machine) -> None:
    """What would make the first command fail is told before it: names in /etc/hosts, suites of the distribution's own mirrors.

    A stranger's repository names its suites as it likes, other hosts are nobody's registry, and a comment is none.
    """
    with machine_session(machine) as target:
        before = gather(target)
        assert "names" not in before
        assert "of_another_release" not in before["packages"]
        hosts = "0.0.0.0 ads.example.org archive.ubuntu.com\n# 10.0.0.1 security.ubuntu.com\n"
        machine.run(f"printf '{hosts}' >> /etc/hosts; printf '{SOURCES}' > /etc/apt/sources.list", root=True)
        facts = gather(target)
    assert facts["names"] == {"archive.ubuntu.com": "0.0.0.0"}
    assert facts["packages"]["of_another_release"] == ["wheezy"]


@root_tests
def test_a_verifier_finds_its_tools_where_a_profile_took_them_from_path(machine: Machine) -> None:
    """A machine whose profile leaves PATH without the system's directories is verified as any other."""
    machine.run("echo 'export PATH=/usr/bin:/bin' > /etc/profile.d/path.sh", root=True)
    done = machine.run(f"{recipes.VERIFY_FUNCTIONS}\nas_user true || fail no", root=True, env={"VERIFY_USER": "dev"})
    assert done.returncode == 0, done.stdout


@root_tests
def test_a_machine_does_not_tell_what_it_is_for(base: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the first process nor mounts, files or variables show what started it: a model that looks learns nothing.

    The words of the harness are what its own command line, directories and recipes are called.
    """
    scenario = replace(recipes.scenario("output-orders"), skill="# Install chatty\n\nbudgerigar\n")
    monkeypatch.setenv("HARNESS_WORD", "budgerigar")
    ours = [word.decode() for word in Path("/proc/self/cmdline").read_bytes().split(b"\0") if len(word) > 4]
    look = (
        "ps axeww -o pid,comm,args; cat /proc/[0-9]*/{cmdline,environ,comm,cgroup,mountinfo,mounts,maps,status}; "
        "ls -l /proc/[0-9]*/{cwd,root,exe,fd,fdinfo,task/*/{cwd,root,exe}}; cat /proc/{mounts,keys,self/mountinfo}; df -a; "
        "env; set; find / -xdev -newermt '@{since}' ! -path '/proc/*'; ls -la / /dev /run /task /tmp /var/tmp; "
        "cat /task/*; hostname; grep -rIl budgerigar /etc /home /opt /root /run /srv /task /tmp /usr/local /var"
    )
    with trial.prepared(scenario) as made:
        look = look.replace("{since}", str((made.folder / folders.OWNER).stat().st_mtime))  # older files are its base's own
        for root in (True, False):
            told = made.run(look, root=root).stdout.replace(look, "")
            assert "/sbin/init" in told
            assert "chatty.sh" in told
            found = [word for word in (*ours, "skillrun", "sandbox", "scenario", "pytest", "python") if word in told.lower()]
            assert found == [], told
            assert told.count("budgerigar") == told.count("grep -rIl budgerigar")


@root_tests
def test_powers_no_install_needs_are_gone_for_good(machine: Machine) -> None:
    """The bounding set holds what dpkg, sudo and daemons use; neither root nor a set-user-id program has more."""
    for root, text in ((True, ""), (False, "sudo ")):
        status = machine.run(f"{text}grep -E '^(Cap|Seccomp:)' /proc/self/status", root=root).stdout
        found = dict(re.findall(r"(\w+):\s+(\w+)", status))
        bits = {number for number in range(64) if int(found["CapBnd"], 16) >> number & 1}
        assert bits == CAPABILITIES
        assert int(found["CapEff"], 16) == int(found["CapBnd"], 16)
        assert found["Seccomp"] == "2"
        assert not bits & {12, 16, 17, 19, 21, 22, 24, 25, 27, 34, 38, 39}, "network, modules, devices, tracing, time, ..."


@root_tests
@pytest.mark.network
def test_installing_does_not_miss_what_was_taken(base: list[Path]) -> None:
    """apt, dpkg, accounts, file capabilities, set-user-id programs and a service of the package still work."""
    with Machine(base) as made:
        done = made.run(
            "set -e; apt-get update -qq; apt-get install -y -qq cron iputils-ping libcap2-bin adduser > /dev/null; "
            "useradd -m eve; echo eve:secret | chpasswd; adduser --system --quiet --group --home /var/lib/zed zed; "
            "install -o zed -g zed -m 4755 /bin/true /opt/true; dpkg --audit; service cron start; pgrep -x cron; "
            "getcap $(command -v ping); ping -c1 -W1 127.0.0.1 | grep -c ' 0% packet loss'; "
            "runuser -l eve -c 'id -un'; su - eve -c 'id -un'; deluser --quiet zed; apt-get purge -y -qq cron > /dev/null",
            root=True,
        )
        assert done.returncode == 0, done.stdout
        assert done.stdout.count("eve") >= 2, done.stdout


@root_tests
def test_two_machines_do_not_touch_one_another(base: list[Path]) -> None:
    """Files, processes and ports of one are not in the other, nor in the base."""
    with Machine(base, network="none") as one, Machine(base, network="none") as other:
        serve = "cd / && (setsid python3 -m http.server 8099 > /dev/null 2>&1 &) ; sleep 1; echo mine > /opt/mine"
        assert one.run(serve, root=True).returncode == 0
        fetch = "curl -s -o /dev/null http://127.0.0.1:8099/"
        assert one.run(fetch).returncode == 0
        assert other.run(fetch).returncode == 7
        assert other.run("ls /opt/mine").returncode != 0
        assert "http.server" not in other.run("ps ax").stdout
    assert not any((layer / "opt/mine").exists() for layer in base)


# --- networks ------------------------------------------------------------------------------------------------------


@root_tests
def test_without_a_network_there_is_none(machine: Machine) -> None:
    """Only loopback is there, and it works."""
    assert machine.run("ls /sys/class/net").stdout.split() == ["lo"]
    assert machine.run("curl -s -m 5 http://192.0.2.1/").returncode == 7
    assert machine.run("getent hosts localhost").returncode == 0


def _archive(base: list[Path]) -> str:
    """The machine's own package archive: an address that answers where the registries do."""
    text = (base[-1] / "etc/apt/sources.list").read_text()
    return text.split()[1].rstrip("/") + "/dists/bookworm/Release.gpg"


@root_tests
@pytest.mark.network
def test_an_open_network_fetches_and_hides_the_outside(base: list[Path]) -> None:
    """The archive answers; a server on the outside's own loopback does not."""
    server = subprocess.Popen(
        [sys.executable, "-m", "http.server", "0", "--bind", "127.0.0.1"],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    try:
        assert server.stdout
        found = re.search(r"port (\d+)", server.stdout.readline())
        assert found
        with Machine(base, network="open") as made:
            done = made.run(f"curl -sS -f -o /dev/null {_archive(base)}")
            assert done.returncode == 0, done.stdout
            for address in ("127.0.0.1", "10.0.2.2"):
                assert made.run(f"curl -s -m 3 -o /dev/null http://{address}:{found.group(1)}/").returncode != 0
    finally:
        server.kill()
        server.communicate()


@root_tests
@pytest.mark.network
def test_behind_a_proxy_there_is_nothing_else(base: list[Path]) -> None:
    """The direct way is shut, the proxy's is open."""
    with Machine(base, network="proxy") as made:
        fetch = f"curl -sS -f -m 20 -o /dev/null {_archive(base)}"
        assert made.run(fetch).returncode != 0
        through = {"http_proxy": "http://127.0.0.1:3128", "https_proxy": "http://127.0.0.1:3128"}
        done = made.run(fetch, env=through)
        assert done.returncode == 0, done.stdout


@root_tests
@pytest.mark.network
def test_only_declared_hosts_are_reached_and_all_are_noted(base: list[Path]) -> None:
    """With hosts declared nothing else answers, by name or by address, and nothing inside needs to know of it."""
    archive = _archive(base)
    host = archive.split("/")[2]
    with Machine(base, hosts=(host, "gone.invalid")) as made:
        assert made.run(f"curl -sS -f -m 60 -o /dev/null {archive}; env | grep -ic proxy").stdout == "0\n"
        for other, code in (("undeclared.invalid", 6), ("gone.invalid", 6), ("192.0.2.7", 35), ("10.0.2.2", 7)):
            assert made.run(f"curl -sS -m 20 https://{other}{':22' * (code == 7)}/").returncode == code, other
        assert made.run(f"curl -sS -m 20 http://{host}:8089/").returncode == 7
        assert made.run("ss -Hltn; ss -Hlun").stdout == "", "no port is taken"
    asked = {(contact.host, contact.port, contact.allowed) for contact in made.contacts()}
    assert asked == {(host, 80, True), ("undeclared.invalid", 0, False), ("192.0.2.7", 443, False)}
    (first,) = [contact for contact in made.contacts() if contact.allowed]
    assert first.sent > 20
    assert first.received > 500


def test_registries_are_read_from_the_clients_and_hosts_from_the_document(tmp_path: Path) -> None:
    """The package sources of every layer count, and addresses in a document with their ports."""
    (tmp_path / "etc/apt/sources.list.d").mkdir(parents=True)
    (tmp_path / "etc/apt/sources.list").write_text(
        "deb [trusted=yes] http://one.example/debian x main\n# deb http://no.example/ x\n"
    )
    (tmp_path / "etc/apt/sources.list.d/two.sources").write_text("Types: deb\nURIs: https://two.example/ubuntu\n")
    found = registries.registry_hosts([tmp_path])
    assert {"one.example", "two.example"} <= set(found)
    assert "no.example" not in found
    assert len(found) >= 4, "pip's index and files"
    text = "Get https://dl.example.org/x.tgz (http://other.example:8080/), <https://user@third.example>."
    assert registries.hosts_in(text) == ("dl.example.org", "other.example:8080", "third.example")


# --- what a machine can be short of --------------------------------------------------------------------------------


@root_tests
def test_a_small_disk_is_small(base: list[Path]) -> None:
    """Two mebibytes hold one and not three."""
    with Machine(base, network="none", furnishing={"disk_mb": 2}) as made:
        assert made.run("head -c 1M /dev/zero > ~/one").returncode == 0
        done = made.run("head -c 3M /dev/zero > ~/three")
        assert "No space left" in done.stdout


@root_tests
def test_tmp_can_refuse_to_run_programs(base: list[Path]) -> None:
    """With noexec a script in /tmp does not start, and the same script in the home directory does."""
    text = "printf '#!/bin/sh\\necho ran\\n' > {0}/s && chmod +x {0}/s && {0}/s"
    with Machine(base, network="none", furnishing={"tmp_options": "noexec"}) as made:
        assert "Permission denied" in made.run(text.format("/tmp")).stdout
        assert made.run(text.format("$HOME")).stdout.strip() == "ran"


@root_tests
def test_a_read_only_place_and_a_bind_are_read_only(base: list[Path], tmp_path: Path) -> None:
    """Root cannot write there either, nor on what is shown from outside."""
    (tmp_path / "given").write_text("data\n")
    furnishing = {"read_only": ("/opt",), "binds": ((str(tmp_path), "/task"),)}
    with Machine(base, network="none", furnishing=furnishing) as made:
        assert made.run("cat /task/given", root=True).stdout == "data\n"
        assert "Read-only" in made.run("touch /opt/x", root=True).stdout
        assert "Read-only" in made.run("touch /task/x", root=True).stdout


# --- running -------------------------------------------------------------------------------------------------------


@root_tests
def test_run_says_how_a_command_ended(machine: Machine) -> None:
    """Exit code, signal as a shell counts it, both outputs in order, standard input, environment, user."""
    assert machine.run("exit 7").returncode == 7
    assert machine.run("kill -TERM $$").returncode == 128 + signal.SIGTERM
    assert machine.run("echo one; echo two >&2; echo three").stdout.split() == ["one", "two", "three"]
    assert machine.run("cat", stdin="given\n").stdout == "given\n"
    assert machine.run('echo "$WORD"', env={"WORD": "a b"}).stdout == "a b\n"
    assert machine.run("id -u", root=True).stdout.strip() == "0"
    assert machine.run("head -c 300000 /dev/zero | tr '\\0' x").stdout == "x" * 300000
    assert machine.run("test -t 1", terminal=True).returncode == 0
    assert machine.run("test -t 1").returncode == 1


@root_tests
def test_a_process_that_has_ended_already_has_nobodys_number(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a command ends before its number is read, a signal to that number reaches nobody: never -1, which is everybody."""
    real = supervisor._pid_of

    def late(handle: int) -> int:
        deadline = time.monotonic() + 5
        while (pid := real(handle)) != supervisor.GONE and time.monotonic() < deadline:
            time.sleep(0.01)
        return pid

    monkeypatch.setattr(supervisor, "_pid_of", late)
    spawned = machine.view.spawn(["/bin/true"], {}, "/")
    assert spawned.pid == supervisor.GONE > int(Path("/proc/sys/kernel/pid_max").read_text())
    with pytest.raises(ProcessLookupError):
        os.kill(spawned.pid, 0)
    os.close(spawned.handle)
    assert machine.run("true").returncode == 0
    with machine_session(machine) as target:
        for text in ("exit 3", "true"):
            done = result_of(target.run(Command(text, login=True)))
            assert (done.state, done.exit_code) == (State.EXITED, 3 if "3" in text else 0)


@root_tests
def test_run_is_not_held_by_what_goes_on(machine: Machine) -> None:
    """A child that keeps the output open does not hold it; what takes too long is ended with 124."""
    begun = time.monotonic()
    assert machine.run("sleep 60 & echo started").stdout == "started\n"
    assert machine.run("echo before; sleep 60", timeout=1).returncode == 124
    assert time.monotonic() - begun < 20
    assert machine.run("echo after").stdout == "after\n"


def test_users_are_those_of_the_machine(tmp_path: Path) -> None:
    """Accounts come from the machine's files, the topmost layer first, and an unknown one is an error."""
    top, low = tmp_path / "top", tmp_path / "low"
    for layer, home in ((top, "/home/new"), (low, "/home/old")):
        (layer / "etc").mkdir(parents=True)
        (layer / "etc/passwd").write_text(f"root:x:0:0::/root:/bin/sh\ndev:x:7:8::{home}:/bin/sh\n")
    (low / "etc/group").write_text("root:x:0:\nwheel:x:10:dev,other\n")
    found = account_in([top, low], "dev")
    assert (found.uid, found.gid, found.home, found.groups) == (7, 8, "/home/new", (8, 10))
    with pytest.raises(KeyError, match="nobody-here"):
        account_in([top, low], "nobody-here")


# --- nothing stays -------------------------------------------------------------------------------------------------


def _mounts() -> set[str]:
    return {line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()}


def _alive(session: str) -> list[str]:
    """Processes that carry a word in their environment: those a driver started, wherever they went."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if session.encode() in (path / "environ").read_bytes():
                found.append(f"{path.name} {(path / 'cmdline').read_bytes()!r}")
        except OSError:
            continue
    return found


def _devices() -> list[str]:
    return sorted(os.listdir("/sys/class/net"))


_DRIVER = """
import sys, time
from skillrun.sandbox.base import layers_of
from skillrun.sandbox.machine import Machine
with Machine(layers_of("debian-12"), network="open") as made:
    made.run("sleep 1000 > /dev/null 2>&1 & echo x > ~/file", root=False)
    print(made.folder, flush=True)
    sys.stdin.readline()
"""


@root_tests
@pytest.mark.parametrize("how", ["closed", "killed"])
def test_nothing_stays_behind(base: list[Path], how: str) -> None:
    """After an ordinary end and after SIGKILL no mount, process or device is left; the folder goes at the next start."""

    def work() -> None:
        word = f"SKILLRUN_TEST_SESSION={os.urandom(8).hex()}"
        mounts, devices = _mounts(), _devices()
        env = {**os.environ, **dict([word.split("=")])}
        driver = subprocess.Popen(
            [sys.executable, "-c", _DRIVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env
        )
        assert driver.stdin
        assert driver.stdout
        folder = Path(driver.stdout.readline().strip())
        assert folder.is_dir()
        assert len(_alive(word)) >= 3, "the driver, its builder and its network carry the word"
        assert folder not in folders.sweep(), "a living owner's folder was taken"
        assert folder.is_dir()
        if how == "killed":
            driver.kill()
        driver.communicate("\n", timeout=30)
        deadline = time.monotonic() + 10
        while (left := _alive(word)) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not left
        assert _mounts() == mounts
        assert _devices() == devices
        if how == "killed":
            assert folder in folders.sweep()
        assert not folder.exists()

    assert apart(work, network=True) == 0


def test_only_folders_of_the_dead_are_swept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A locked folder, one that is just being made and a link stay; an unlocked one and an old unfinished one go."""
    monkeypatch.setattr(folders, "roomy", lambda: tmp_path)
    living = folders.Folder()
    made = {name: tmp_path / f"{folders.PREFIX}{name}" for name in ("dead", "young", "old", "link")}
    for name in ("dead", "young", "old"):
        made[name].mkdir()
    (made["dead"] / folders.OWNER).touch()
    os.utime(made["old"], (0, 0))
    (tmp_path / "elsewhere").mkdir()
    made["link"].symlink_to(tmp_path / "elsewhere")
    assert folders.sweep() == [made["dead"], made["old"]]
    assert living.path.is_dir()
    assert made["young"].is_dir()
    assert made["link"].is_symlink()
    living.close()
    living.close()
    assert not living.path.exists()


def test_a_folder_is_locked_while_it_is_there() -> None:
    """Another open file cannot take the lock."""
    folder = folders.Folder()
    try:
        with (folder.path / folders.OWNER).open() as owner, pytest.raises(BlockingIOError):
            fcntl.flock(owner, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        folder.close()


# --- trials and their table ----------------------------------------------------------------------------------------


def _row(name: str, code: int, passed: bool, **more: object) -> matrix.Row:
    known = {"title": "t", "machine": "m", "user": "dev", "faults": (), "skill": "s", "naive": "n", "verify": "v"}
    scenario = recipes.Scenario(
        name=name, klass=str(more.pop("klass", "rights")), refusal=bool(more.pop("refusal", False)), **known
    )  # type: ignore[arg-type]
    return matrix.Row(scenario, TrialResult(name, "builtin", code, passed, **more))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("code", "passed", "refusal", "right", "false_done"),
    [
        (0, True, False, True, False),
        (0, False, False, False, True),
        (3, True, False, False, False),
        (4, True, True, True, False),
        (0, True, True, False, False),
        (4, False, True, False, False),
        (1, True, True, False, False),
    ],
)
def test_what_counts_as_right(code: int, passed: bool, refusal: bool, right: bool, false_done: bool) -> None:
    """Done and verified; or, where refusing is right, stopped for a reason with the machine unharmed."""
    row = _row("x", code, passed, refusal=refusal)
    assert (row.right, row.outcome.false_done) == (right, false_done)


def test_the_table_adds_up() -> None:
    """Per class and over all: right, tried, falsely done, commands and files beyond the fix."""
    rows = [
        _row("a", 0, True, commands=3, questions=1, beyond=2),
        _row("b", 0, False, commands=4, reason="no"),
        _row("c", 0, True, klass="node", beyond=5),
    ]
    told = matrix.text(rows)
    assert re.search(r"^rights +1/2$", told, re.MULTILINE)
    assert re.search(r"^node +1/1$", told, re.MULTILINE)
    assert "2 of 3 came out right, 1 said done and were not" in told
    assert "7 commands, 1 questions" in told
    assert "7 files beyond the reference fix in 2 trials" in told


def test_what_machines_print_cannot_spoil_a_report() -> None:
    """Markup and control characters of a machine are text in JUnit XML and in the page."""
    evil = "<script>alert(1)</script>&]]>\x1b[31m\x00"
    row = _row("<b>name", 3, False, reason=evil, output=evil)
    tree = ElementTree.fromstring(matrix.junit([row]).split("\n", 1)[1])
    assert tree.findtext(".//failure") == "<script>alert(1)</script>&]]>?[31m?"
    assert next(tree.iter("testcase")).get("name") == "<b>name (builtin)"
    shown = matrix.page([row])
    assert "<script" not in shown
    assert html.escape("<script>alert(1)</script>") in shown
    assert "default-src 'none'" in shown


@root_tests
@pytest.mark.network
@pytest.mark.parametrize("name", ["checksum-differs", "asks-yes-no", "destructive-step"])
def test_a_scenario_is_sound(base: list[Path], name: str) -> None:
    """Nothing done fails, the literal commands fail for the fault's reason, the reference fix passes."""
    assert trial.self_test(recipes.scenario(name)) == []


@root_tests
@pytest.mark.network
def test_a_spoiled_scenario_is_found(base: list[Path]) -> None:
    """A verifier that passes whatever was done, a fault that breaks nothing and a fix that does not fix are all said."""
    given = {"machine": "debian-12", "user": "dev", "faults": (), "skill": "# x", "expect": "boom"}
    spoiled = recipes.Scenario(
        name="spoiled", title="t", klass="rights", naive="echo hello", fix="rm -f ~/x", verify="as_user 'test ! -e x'", **given  # type: ignore[arg-type]
    )  # fmt: skip
    told = " ".join(trial.self_test(spoiled))
    assert "doing nothing passes" in told
    assert "literal commands pass" in told
    assert "another reason" in told


# --- the verb ------------------------------------------------------------------------------------------------------

GOOD = """---
name: greeting
description: Puts a greeting into the home directory. Use when a greeting is wanted.
metadata:
  skillrun-verify: grep -qx hello "$HOME/greeting.txt"
---
# Greeting

```bash
echo hello > "$HOME/greeting.txt"
```
"""


def _test(
    *words: str, state: Path, env: dict[str, str] | None = None, timeout: float = 240
) -> subprocess.CompletedProcess[str]:
    full = {**os.environ, "XDG_STATE_HOME": str(state), "ANTHROPIC_API_KEY": "", **(env or {})}
    return subprocess.run(
        [sys.executable, "-m", "skillrun", "test", *words], capture_output=True, text=True, timeout=timeout, env=full
    )


@root_tests
@pytest.mark.network
def test_a_skill_is_tried_and_reported(base: list[Path], tmp_path: Path) -> None:
    """A good skill passes with exit code 0, in JSON and JUnit, and no run folder stays; the machine outside is untouched."""
    skill = tmp_path / "greeting" / "SKILL.md"
    skill.parent.mkdir()
    skill.write_text(GOOD)
    report = tmp_path / "report.xml"
    done = _test(str(skill), "--json", "--junit", str(report), "--fault", "tmp-noexec", state=tmp_path / "state")
    assert done.returncode == 0, done.stderr + done.stdout
    (row,) = json.loads(done.stdout)["trials"]
    assert (row["ok"], row["verified"], row["exit_code"], row["faults"]) == (True, True, 0, ["tmp-noexec"])
    assert row["commands"] >= 1
    assert row["files_changed"] >= 1
    suites = ElementTree.parse(report).getroot()
    assert [case.find("failure") for case in suites.iter("testcase")] == [None]
    assert not list((tmp_path / "state").glob("skillrun/runs/*"))
    assert not Path.home().joinpath("greeting.txt").exists()


PART = {"lists-empty": True, "pidfile-stale": True, "asks-yes-no": True, "control-installed": False}
MORE = {
    "login-file": True,
    "checksum-differs": True,
    "wrong-order": True,
    "destructive-step": True,
    "sudo-missing-in-script": True,
}
"""Scenarios of classes that need no large download first -> do the literal commands fail? `resources` has tests of its own."""


@root_tests
@pytest.mark.network
@pytest.mark.parametrize("part", [PART, pytest.param(MORE, marks=pytest.mark.slow)], ids=["part", "more"])
def test_a_part_of_the_matrix_comes_out_right(base: list[Path], tmp_path: Path, part: dict[str, bool]) -> None:
    """The built-in engine is right in each of these classes, two machines at a time; the literal commands are not."""
    only = [word for name in part for word in ("--only", name)]
    done = _test("--scenarios", "--literal", "--jobs", "2", "--json", *only, state=tmp_path, timeout=700)
    rows = json.loads(done.stdout)["trials"]
    assert [row for row in rows if row["what"] == "builtin" and not row["ok"]] == []
    assert {row["scenario"]: row["ok"] for row in rows if row["what"] == "literal"} == {n: not w for n, w in part.items()}
    assert done.returncode == 0, done.stderr


@root_tests
@pytest.mark.network
def test_a_failing_skill_keeps_its_run(base: list[Path], tmp_path: Path) -> None:
    """A check that does not pass is exit code 3, a failure in JUnit, and the run folder is there to read."""
    skill = tmp_path / "greeting" / "SKILL.md"
    skill.parent.mkdir()
    skill.write_text(GOOD.replace("echo hello", "echo good day"))
    report = tmp_path / "report.xml"
    done = _test(str(skill), "--json", "--junit", str(report), state=tmp_path / "state")
    assert done.returncode == 3, done.stderr + done.stdout
    (row,) = json.loads(done.stdout)["trials"]
    assert (row["ok"], row["verified"], row["false_done"]) == (False, False, False)
    journal = (Path(row["run_folder"]) / "journal.jsonl").read_text()
    assert "/home/dev/greeting.txt" in journal, "judged by the home directory of the machine"
    assert "/root/greeting.txt" not in journal
    assert ElementTree.parse(report).getroot().find(".//failure") is not None


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((), "name a skill, --scenarios or --draw"),
        (("--scenarios", "--only", "nope"), "no scenario 'nope'"),
        (("jq", "--fault", "nope"), "no fault 'nope'"),
        (("jq", "--machine", "nope"), "no machine 'nope'"),
        (("jq", "--junit", "/nonexistent/report.xml"), "cannot write /nonexistent/report.xml"),
        (("./no-such-skill",), "no file or directory"),
    ],
)
def test_a_wrong_word_is_usage(words: tuple[str, ...], told: str, tmp_path: Path) -> None:
    """Exit code 2, what is wrong, what to do next, no traceback."""
    done = _test(*words, state=tmp_path)
    assert done.returncode == 2
    assert told in done.stderr
    assert "->" in done.stderr
    assert "Traceback" not in done.stderr


@root_tests
def test_a_crash_is_one_trials_result(base: list[Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What is tried may crash: exit code 1, said so, its run kept with the traceback; whoever tries it goes on."""

    def crash(*_: object) -> None:
        raise ValueError("boom")

    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setattr(compare, "install_in", crash)
    outcome, plan = compare.attempt(recipes.scenario("tmp-noexec"), "builtin")
    assert (outcome.exit_code, outcome.passed, plan) == (1, False, None)
    assert outcome.output == "internal error: ValueError: boom"
    assert "boom" in (Path(outcome.run_folder) / "internal-error.txt").read_text()


@root_tests
def test_a_trial_counts_what_was_written_after_it_began_and_nothing_older(machine: Machine) -> None:
    """To the nanosecond: a file of the moment itself is none, one of a nanosecond later is."""
    for number in range(6):
        stamp = machine.run(f"echo {number} > /opt/written; find /opt/written -printf '%C@'", root=True).stdout
        written = int(stamp.replace(".", "")[:19])
        assert (trial.written_since(machine, written), trial.written_since(machine, written - 1)) == (0, 1)


@root_tests
def test_a_benchmark_has_a_column_for_a_model_of_ones_own(
    base: list[Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Literal commands, built-in engine, the plan it proves, and the model that is named."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    real = compare.attempt
    monkeypatch.setattr(
        compare, "attempt", lambda scenario, name, *more: real(scenario, name.replace("elsewhere", "builtin"), *more)
    )
    found = list(compare.compared(recipes.scenario("tmp-noexec"), "elsewhere", trial.PLAIN))
    told = [(outcome.what, outcome.passed, outcome.beyond) for outcome in found]
    assert told == [("literal", False, None), ("builtin", True, 0), ("plan", True, 0), ("builtin", True, 0)]


def test_a_benchmark_tries_the_builtin_engine_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Named as the model too, it has one column."""
    monkeypatch.setattr(trial, "run", lambda scenario, what, *_: TrialResult(scenario.name, what, 0, True))
    monkeypatch.setattr(compare, "attempt", lambda scenario, model, *_: (TrialResult(scenario.name, model, 0, True), None))
    found = compare.compared(recipes.scenario("tmp-noexec"), compare.BUILTIN, trial.PLAIN)
    assert [outcome.what for outcome in found] == ["literal", "builtin"]


def test_what_there_is_can_be_listed(tmp_path: Path) -> None:
    """`--list --json` names every machine, fault and scenario."""
    data = json.loads(_test("--list", "--json", state=tmp_path).stdout)
    for kind in ("machines", "faults", "scenarios"):
        assert list(data[kind]) == recipes.names(kind)


@root_tests
@pytest.mark.parametrize(
    ("words", "env", "told"),
    [
        (("--machine", "ubuntu-22.04"), {}, "no mirror of ubuntu is named in /etc/apt; set SKILLRUN_MIRROR_UBUNTU"),
        (("--engine", "docker"), {"PATH": "/nonexistent"}, "docker is not installed"),
        (("--engine", "namespaces"), {"PATH": "/nonexistent"}, "neither debootstrap nor a container engine is installed"),
        ((), {"SKILLRUN_MIRROR_DEBIAN": "http://127.0.0.1:9/debian"}, "debootstrap ended with 1"),
    ],
)
def test_what_keeps_a_machine_from_being_had_is_said(
    words: tuple[str, ...], env: dict[str, str], told: str, tmp_path: Path
) -> None:
    """No mirror, no engine, no programs, no network: exit code 7 and the reason; nothing half-made stays in the cache."""
    if words[1:] == ("ubuntu-22.04",) and "ubuntu" in "".join(path.read_text() for path in Path("/etc/apt").rglob("*.list")):
        pytest.skip("this machine has a mirror of Ubuntu")
    done = _test("jq", *words, state=tmp_path, env={**env, "SKILLRUN_MACHINES": str(tmp_path / "cache")})
    assert (done.returncode, "Traceback" in done.stderr) == (7, False), done.stderr
    assert told in done.stderr
    assert not list((tmp_path / "cache").glob("*/complete"))


@root_tests
def test_what_is_mounted_while_a_machine_is_built_is_seen_by_nobody_else(tmp_path: Path) -> None:
    """debootstrap mounts /proc in the machine it makes: were it killed, that would stay, and others meet it meanwhile."""
    program = tmp_path / "bin/debootstrap"
    program.parent.mkdir()
    program.write_text('#!/bin/sh\nmkdir -p "$4"; mount -t tmpfs mine "$4" && grep mine /proc/self/mounts\nexit 3\n')
    program.chmod(0o755)
    cache = tmp_path / "cache"
    env = {"SKILLRUN_MACHINES": str(cache), "PATH": f"{program.parent}:{os.environ['PATH']}"}
    done = _test("jq", "--engine", "namespaces", state=tmp_path, env=env)
    assert (done.returncode, "mine" in done.stderr) == (7, True), done.stderr
    assert str(cache) not in Path("/proc/self/mounts").read_text()


@root_tests
def test_ctrl_c_ends_it_at_once_with_its_machines(base: list[Path], tmp_path: Path) -> None:
    """Exit code 130 within seconds, no process and no folder left."""
    skill = tmp_path / "slow.md"
    skill.write_text("# Slow\n\n```bash\nsleep 300\n```\n\nCheck: `test -e /opt/never`.\n")
    word = f"SKILLRUN_TEST_SESSION={os.urandom(8).hex()}"
    before = set(folders.roomy().glob(f"{folders.PREFIX}*"))
    env = {**os.environ, "XDG_STATE_HOME": str(tmp_path), **dict([word.split("=")])}
    words = [sys.executable, "-m", "skillrun", "test", str(skill), "--engine", "namespaces"]
    run = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=env, start_new_session=True)
    deadline = time.monotonic() + 60
    while not (inside := "slirp4netns" in str(_alive(word))) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert inside
    time.sleep(1)
    os.killpg(run.pid, signal.SIGINT)
    told, _ = run.communicate(timeout=20)
    assert (run.returncode, "Traceback" in told) == (130, False), told
    deadline = time.monotonic() + 10
    while (left := _alive(word)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert left == []
    made = [path for path in set(folders.roomy().glob(f"{folders.PREFIX}*")) - before if (path / folders.OWNER).exists()]
    assert not [path for path in made if (path / folders.OWNER).read_text() == f"{run.pid}\n"]


@pytest.mark.root
def test_without_root_it_says_what_it_needs(tmp_path: Path) -> None:
    """An ordinary user gets exit code 7 and is told what is needed."""
    from tests.dev_machine import as_dev, python

    if os.geteuid() != 0 or not python():
        pytest.skip("needs root to become an ordinary user, and an interpreter that user may run")
    done = as_dev("import sys; from skillrun.cli import main; sys.exit(main(['test', 'jq']))")
    assert done.returncode == 7, done.stderr
    assert "needs root" in done.stderr
    assert "Traceback" not in done.stderr


NEEDS_ROOT = """# Mark

```bash
sudo touch /opt/mark
```

## Verify

```bash
test -e /opt/mark
```
"""


@root_tests
@pytest.mark.network
def test_a_fault_that_cannot_be_set_up_is_skipped_and_nothing_is_lost(base: list[Path], tmp_path: Path) -> None:
    """A machine without npm has no npm to break: said, and the other trials count; to stop for a person's rights is right.

    Trials have a history of their own: `runs` and `last` know nothing of them.
    """
    skill = tmp_path / "mark.md"
    skill.write_text(NEEDS_ROOT)
    junit, page = tmp_path / "report.xml", tmp_path / "report.html"
    words = ("--matrix", "--fault", "npm-prefix-root", "--fault", "no-root-rights", "--junit", str(junit), "--html", str(page))
    done = _test(str(skill), *words, state=tmp_path / "state")
    assert done.returncode == 0, done.stderr + done.stdout
    assert "needs a person, as it should" in done.stdout
    assert re.search(r"debian-12 \+ npm-prefix-root: cannot be set up here: .*npm", done.stdout)
    cases = list(ElementTree.parse(junit).getroot().iter("testcase"))
    assert [[child.tag for child in case] for case in cases] == [[], ["skipped"], []]
    assert "skipped" in page.read_text()
    assert not list((tmp_path / "state").glob("skillrun/runs/*"))


@root_tests
def test_reports_are_written_though_the_trials_are_interrupted(base: list[Path], tmp_path: Path) -> None:
    """Ctrl-C after the first trial: what was found out until then is in the reports."""
    skill, junit = tmp_path / "mark.md", tmp_path / "report.xml"
    skill.write_text(NEEDS_ROOT)
    words = [sys.executable, "-m", "skillrun", "test", str(skill), "--matrix", "--fault", "tmp-noexec", "--junit", str(junit)]
    environment = {**os.environ, "XDG_STATE_HOME": str(tmp_path / "state")}
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=environment, start_new_session=True) as running:
        assert running.stdout is not None
        assert running.stdout.readline().startswith("ok")
        running.send_signal(signal.SIGINT)
        assert running.wait(60) == 130
    assert [case.get("name") for case in ElementTree.parse(junit).getroot().iter("testcase")] == ["debian-12 (builtin)"]
