"""A copy-on-write view of this machine: commands really run, and nothing of it is real until a commit."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from pathlib import Path

from skillrun.events import Answered, Asked, Event, State
from skillrun.overlay.diff.deferred import write_deferred
from skillrun.overlay.mount import hidden_credentials
from skillrun.overlay.mount.canaries import Bait
from skillrun.overlay.mount.layers import Layers
from skillrun.overlay.mount.service_request import Refused, ServiceRequest
from skillrun.overlay.mount.spec import Account, Spec
from skillrun.overlay.process.egress_proxy import WEB_PORTS, Contact, Egress, proxy_environment
from skillrun.overlay.process.probe import Elevation, find_elevation
from skillrun.overlay.process.supervisor import NoRoot, View, ViewError, new_id
from skillrun.overlay.transaction.root import Root
from skillrun.ports import Stream
from skillrun.pty.askpass import Askpass
from skillrun.pty.environment import Login, command_environment, login_environment
from skillrun.pty.launch import Launched
from skillrun.pty.running import Knock, Running
from skillrun.pty.session import Limits, Session
from skillrun.pty.umask import own_umask
from skillrun.record.own_places import private_places
from skillrun.secrets import Vault

__all__ = ["PreviewTarget", "ViewError"]

LIMITS_OF_A_VIEW = (
    "services are not started inside; what they were told is done after the commit",
    "what was sent over the network is real and cannot be discarded",
)
FENCED = "package registries and the hosts that the skill or you name can be contacted, no others: --host '*' opens all"
ALLOW, REFUSE, NEVER_ASK = "allow", "refuse", "never ask"
"""What a person can say of a host that a command wants to connect to; the last refuses it and every other one."""
WITHOUT_ROOT = "shown is only what you can change without root, and sudo does not work inside"


class PreviewTarget(Session):
    """Commands run in a view. After `close` the layers lie in the run folder, to be committed or dropped.

    `notes`: what a person must know of this view (places that are read-only inside, what is not shown).
    """

    name = "preview"
    contained = True
    here = False

    hosts_given: bool = False
    """A person named the hosts of this run: no command of it, whatever it was judged to contact, reaches another."""
    ask_host: Callable[[str, Sequence[str], str], str | None] | None = None
    """Asks a person: a question, the choices and the default in, a choice or None out. None: nobody is there to ask."""

    def __init__(
        self,
        view: View,
        outputs: Path,
        *,
        env: Mapping[str, str],
        cwd: str,
        hosts: Sequence[str] | None = None,
        named: Sequence[str] = (),
        vault: Vault | None = None,
        limits: Limits | None = None,
        keep: Iterable[str] = (),
        password: Callable[[str], str | None] | None = None,
    ) -> None:
        self.view = view
        self.tier = view.spec.tier
        self.notes = (*view.notes, *LIMITS_OF_A_VIEW, *((FENCED,) if hosts is not None else ()))
        account = view.spec.account
        self._egress: Egress | None = None
        if view.listener is not None:
            self._egress = Egress(view.take_listener(), hosts or (), named=named)
            env = {**env, **proxy_environment()}
        self._asked: tuple[ServiceRequest | Refused, ...] = ()
        self._touched: tuple[str, ...] = ()
        shell = account.shell()
        super().__init__(
            outputs,
            dict(env),
            cwd,
            Login(shell, account.home, login_environment(env, account.name, account.home, shell)),
            launcher=self._launch,
            vault=vault,
            limits=limits,
            keep=keep,
            password=password,
        )

    @classmethod
    def open(
        cls,
        folder: Path,
        *,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        tier: str = "",
        hosts: Sequence[str] | None = None,
        named: Sequence[str] = (),
        canaries: bool = False,
        granted: Iterable[str] = (),
        vault: Vault | None = None,
        limits: Limits | None = None,
        keep: Iterable[str] = (),
        password: Callable[[str], str | None] | None = None,
        ask: bool = True,
    ) -> PreviewTarget:
        """Build a view for the run in `folder` (its layers go to `changes/`). Raises ViewError when there can be none.

        `tier`: R or U; empty: the root view for root and for whoever can use sudo, else the user view.
        `ask`: sudo may ask for a password.
        `granted`: secret variables to pass on.
        `hosts`: patterns of hosts that may be contacted, all else is cut off; None leaves the network as it is. `named`:
        more of them, from a stranger, so not into private networks.
        `canaries`: put bait where credentials were hidden, and report who touched it.
        """
        env = os.environ if env is None else env
        account = Account.current()
        changes = folder / "changes"
        changes.mkdir(mode=0o700, parents=True, exist_ok=True)
        changes.chmod(0o700)
        sudo = find_elevation(ask, password is not None) if tier != "U" and account.uid != 0 else Elevation()
        if tier == "R" and sudo.why_not:
            raise ViewError(f"a view of the whole machine needs root: {sudo.why_not}")
        about = (folder, account, cwd or os.getcwd(), canaries, hosts is not None)
        if sudo.words or account.uid == 0:
            try:
                view = _build("R", _root(sudo, password, account), *about)
            except NoRoot as error:
                if tier:
                    raise
                view = _build("U", None, *about)
                view.notes += (f"{WITHOUT_ROOT} (sudo did not give root: {error})",)
        else:
            view = _build("U", None, *about)
            view.notes += (f"{WITHOUT_ROOT} ({sudo.why_not})",) if sudo.why_not else ()
        more = {"vault": vault, "limits": limits, "keep": keep, "password": password}
        try:
            environment = command_environment(env, granted)
            return cls(view, folder / "outputs", env=environment, cwd=cwd or os.getcwd(), hosts=hosts, named=named, **more)  # type: ignore[arg-type]
        except BaseException:
            view.close()
            raise

    @property
    def layers(self) -> Layers:
        """What the view lies over, for `scan` and `commit`."""
        return self.view.layers

    @property
    def root(self) -> Root | None:
        """Root's process, where the view needed one: its layers belong to root (see `overlay.transaction.privileged.Work`)."""
        return self.view.root

    def get(self, path: str, limit: int | None = None) -> bytes:
        """A file's bytes as it is inside, the first `limit` of them. Raises OSError."""
        with os.fdopen(self.view.open(os.path.join(self.cwd, path)), "rb") as file:
            return file.read(-1 if limit is None else limit)

    def put(self, path: str, data: bytes, mode: int | None = None) -> None:
        """Write a file inside, whole or not at all, as the person. Raises OSError."""
        self.view.write(os.path.join(self.cwd, path), data, mode)

    def deferred(self) -> tuple[ServiceRequest, ...]:
        """What services were told inside, to be done after a commit, in order."""
        return tuple(item for item in self._all_asked() if isinstance(item, ServiceRequest))

    def _all_asked(self) -> tuple[ServiceRequest | Refused, ...]:
        if not self._closed:
            with contextlib.suppress(ViewError):  # a view that was lost: what was known of it stands
                self._asked = self.view.asked()
        return self._asked

    def admit(self, hosts: Iterable[str], by_person: bool = False) -> None:
        """Hosts the next command may contact beside those of the run, where the network is closed and nobody said to which."""
        if self._egress is not None and not self.hosts_given:
            self._egress.admit(hosts, by_person)

    def _knocks(self, running: Running) -> list[Knock]:
        egress = self._egress
        if egress is None:
            return super()._knocks(running)
        egress.asking = self.ask_host is not None and not self.hosts_given
        return [*super()._knocks(running), Knock(egress.fileno(), lambda: self._host_wanted(running, egress))]

    def _host_wanted(self, running: Running, egress: Egress) -> Generator[Event, None, None]:
        """A connection is held at the proxy, to a host that neither the skill nor a person named: ask whether it may be."""
        while (wish := egress.wish())[0]:
            name, why = wish
            answer = REFUSE
            if self.ask_host is not None:
                question = f"What runs here wants to connect to {name}, {why}: allow it?"
                choices = (ALLOW, REFUSE, NEVER_ASK)
                yield Asked(question, choices, about="host")
                said = self.ask_host(question, choices, REFUSE)
                answer = said or REFUSE
                yield Answered(answer, by="person" if said else "nobody")
            if answer == NEVER_ASK:
                self.ask_host = None
            egress.answer(name, answer == ALLOW)
            running.touch()

    def _finish(self, running: Running, state: State) -> Stream:
        if self._egress is not None:
            self._egress.asking = False  # nobody listens between commands: a connection would be held for nothing
        return (yield from super()._finish(running, state))

    def contacts(self) -> tuple[Contact, ...]:
        """Hosts that were asked for, when the network is closed but for named hosts."""
        return self._egress.contacts() if self._egress is not None else ()

    def contacted(self) -> dict[str, list[Contact]]:
        """The same by host, with the port where it is not the web's."""
        found: dict[str, list[Contact]] = {}
        for contact in self.contacts():
            name = contact.host if contact.port in WEB_PORTS else f"{contact.host}:{contact.port}"
            found.setdefault(name, []).append(contact)
        return found

    def touched_canaries(self) -> tuple[Bait, ...]:
        """Bait that was opened inside."""
        return self.view.touched()

    def still(self) -> None:
        """End everything that runs inside, so that what is shown stays what it is. Raises ViewError."""
        self.view.still()

    def record(self) -> None:
        """Write what is to be done after a commit into the run folder, durably. Raises OSError."""
        write_deferred(Path(self.view.spec.changes), self._all_asked())

    def close(self) -> None:
        """End everything inside; the layers and the record of what is deferred stay in the run folder."""
        if self._closed:
            return
        self.record()
        self.touched_canaries()
        super().close()
        self.view.close()
        if self._egress is not None:
            self._egress.close()

    def _launch(
        self, argv: Sequence[str], env: Mapping[str, str], cwd: str, fds: Mapping[int, int], size: tuple[int, int]
    ) -> Launched:
        try:
            spawned = self.view.spawn(argv, env, cwd, fds, size)
        except ViewError as error:
            raise OSError(error.errno or 5, str(error)) from None
        os.close(spawned.handle)
        assert spawned.master is not None
        return Launched(spawned.pid, spawned.master)


def _build(
    tier: str,
    root: Root | None,
    folder: Path,
    account: Account,
    cwd: str,
    canaries: bool,
    closed_network: bool,
) -> View:
    """A view for the run in `folder`. Raises ViewError, NoRoot."""
    trees, files = hidden_credentials.hidden(account, cwd, everybody=tier == "R")
    own = private_places()
    spec = Spec(
        tier,
        new_id(),
        os.path.realpath(folder / "changes"),
        account,
        hide=(os.path.realpath(folder), *trees, *(path for path in own if os.path.isdir(path))),
        hide_files=(*files, *(path for path in own if os.path.isfile(path))),
        canaries=canaries,
        closed_network=closed_network,
        elevated=root is not None,
        umask=own_umask(),
    )
    return View(spec, root)


class _AskedFor(Askpass):
    """sudo's helper, with the person behind it."""

    def __init__(self, password: Callable[[str], str | None]) -> None:
        super().__init__()
        self._password = password
        self._why = "to show the whole machine; empty: only what is yours"
        self._again, self._since = "", time.time()

    def serve(self) -> None:
        """Ask the person, saying why; an empty answer means no."""
        if self.asking(os.getpid(), self._since) is None:
            return
        answer = None
        try:
            answer = self._password(self._again + self._why)
        finally:
            self.answer(answer)
            self._again = "sudo did not take that: "


def _root(sudo: Elevation, password: Callable[[str], str | None] | None, account: Account) -> Root | None:
    if not sudo.words:
        return None
    return Root(sudo.words, _AskedFor(password) if sudo.asks and password is not None else None)
