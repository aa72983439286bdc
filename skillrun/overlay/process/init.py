"""The first process inside a view: builds it, then starts commands in it for the supervisor outside.

It has the PID 1 of the view's own PID namespace, so whatever runs inside ends with it, and it ends as soon
as the supervisor's end of the channel closes, be it by SIGKILL.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import socket
import struct

from skillrun.overlay.kernel import syscalls as ns
from skillrun.overlay.kernel.channel import Gone, receive, send
from skillrun.overlay.kernel.landlock import confine
from skillrun.overlay.mount import canaries
from skillrun.overlay.mount.container import join_container
from skillrun.overlay.mount.machine import CAPABILITIES, build_machine_view
from skillrun.overlay.mount.mounts import Built, guard_proc, mount_proc
from skillrun.overlay.mount.root import build_root_view, stage_folder
from skillrun.overlay.mount.shims import ASKED
from skillrun.overlay.mount.spec import Spec
from skillrun.overlay.mount.user import build_user_view
from skillrun.overlay.process.server import Server

PROXY_PORT = 3128
COMMAND_LINE = "/sbin/init"
"""What processes inside see of the first one: the words skillrun was started with are nobody's business there."""


def build_and_serve(channel: socket.socket) -> None:
    """Read a spec from the channel, build the view, and serve until the channel closes. For a process of its own."""
    _forget_the_parent(channel)
    try:
        request, _ = receive(channel)
        spec = Spec.from_json(request)
    except Gone:
        return
    try:
        mapping = ns.IdentityMapping()
        built = _build(spec)
        folder, stage = os.path.split(stage_folder(spec))
        # Held open, since this process's root becomes the view's when the child pivots.
        beside = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC) if spec.elevated else -1
        # Told now, so that the supervisor writes its record while the rest is made ready.
        layers = [[layer.target, layer.upper, layer.work, layer.fstype] for layer in built.layers]
        send(channel, {"layers": layers, "made": built.made, "stood_for": built.stood_for})
        if not _joined(spec):
            ns.unshare(ns.CLONE_NEWPID)
        child = os.fork()
    except Gone:
        return
    except (OSError, ValueError) as error:
        _refuse(channel, error)
        return
    if child == 0:
        ns.in_child(lambda: _first_process(channel, spec, built, mapping))
    channel.close()
    ns.set_name("skillrun-view")
    mapping.write_when_asked(child)
    ns.hide_memory()
    os.waitpid(child, 0)
    if beside >= 0:  # otherwise the supervisor may remove it, and does
        with contextlib.suppress(OSError):
            os.rmdir(stage, dir_fd=beside)


def _forget_the_parent(channel: socket.socket) -> None:
    """Keep nothing of the process this was forked from but the channel."""
    ns.show_memory()
    parent = os.getppid()
    ns.die_with_parent()
    if os.getppid() != parent:
        os._exit(0)
    for number in range(1, signal.NSIG):
        try:
            signal.signal(number, signal.SIG_DFL)
        except (OSError, ValueError):
            continue  # SIGKILL, SIGSTOP and those the C library keeps for itself
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    keep = channel.fileno()
    null = os.open("/dev/null", os.O_RDWR)
    for standard in (0, 1, 2):
        if standard != keep:
            os.dup2(null, standard, inheritable=True)
    os.closerange(3, keep)
    os.closerange(max(keep, 2) + 1, os.sysconf("SC_OPEN_MAX"))
    if os.getpid() != os.getsid(0):
        os.setsid()
    os.umask(0o022)
    os.chdir("/")


def _build(spec: Spec) -> Built:
    private = ns.CLONE_NEWNS | ns.CLONE_NEWIPC | ns.CLONE_NEWUTS | (ns.CLONE_NEWNET if spec.closed_network else 0)
    if spec.tier == "R":
        ns.unshare_as_root(private)
        proxy = f"http://127.0.0.1:{PROXY_PORT}" if spec.closed_network else ""
        return build_root_view(spec, proxy)
    if spec.tier == "M":
        if spec.machine and spec.machine.joins:
            return join_container(spec)
        ns.unshare(private | (ns.CLONE_NEWNET if spec.machine and spec.machine.own_network else 0))
        with contextlib.suppress(PermissionError):  # inside a view, where its filter refuses them: they are the outside's
            ns.unshare(ns.CLONE_NEWCGROUP)
        return build_machine_view(spec)
    ns.enter_own_user_namespace(private)
    return build_user_view(spec)


def _joined(spec: Spec) -> bool:
    return spec.machine is not None and spec.machine.joins > 0


def _refuse(channel: socket.socket, error: Exception) -> None:
    try:
        text = getattr(error, "strerror", None) or str(error)
        place = getattr(error, "filename", None)
        send(channel, {"error": f"{text}: {place}" if place else text, "errno": getattr(error, "errno", 0) or 0})
    except Gone:
        return


def _first_process(channel: socket.socket, spec: Spec, built: Built, mapping: ns.IdentityMapping) -> None:
    ns.die_with_parent()
    ns.set_command_line(COMMAND_LINE)
    files: list[int] = []
    try:
        if not _joined(spec):
            note = mount_proc(f"{built.root}/proc")
            built.notes += [note] if note else []
        if built.root:
            guard_proc(f"{built.root}/proc")
            ns.pivot_root(built.root)
        # Held open from before anybody inside can put something else in its place.
        asked = os.open(ASKED, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC) if os.path.isdir(ASKED) else -1
        bait, watches = canaries.watch(built.bait)
        files.append(bait)
        if spec.closed_network:
            files.append(_listen())
        ns.leave_session_keyring()
        if spec.tier in ("R", "M"):
            mapping.enter()
        mapping.close()
        applied = confine()
        ns.hide_memory()
        if spec.tier == "U":
            ns.drop_capabilities()
        elif spec.tier == "M":
            ns.keep_capabilities(CAPABILITIES)
    except OSError as error:
        _refuse(channel, error)
        return
    ready = {
        "notes": built.notes,
        "confined_by": applied,
        "bait": list(watches.items()),
    }
    send(channel, ready, files)
    for descriptor in files:
        os.close(descriptor)
    ns.set_name("init")
    Server(channel, spec, asked).serve()


def _listen() -> int:
    """The egress proxy's listening socket: made inside, where it belongs, and answered outside."""
    loopback = struct.pack("16sH14x", b"lo", 0x1 | 0x40)  # IFF_UP | IFF_RUNNING, netdevice(7)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, 0x8914, loopback)  # SIOCSIFFLAGS
    listener = socket.socket()
    listener.bind(("127.0.0.1", PROXY_PORT))
    listener.listen(128)
    return listener.detach()
