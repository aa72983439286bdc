"""A program behind the wall: how it was asked for, and what is known of it."""

from __future__ import annotations


class Wish:
    """A program that is to be started: what `skillrun.looking.wall` asked for."""

    def __init__(self, argv: list[str], env: list[str], places: list[str], fds: list[str], trees: list[str]) -> None:
        """`env`: NAME=VALUE. `places`: where it starts, where it may write, what it opens when it begins."""
        self.argv, self.env, self.places, self.fds, self.trees = argv, env, places, fds, trees


class Shell:
    """One program behind the wall: its session, where it may write, what it tried."""

    def __init__(self, pid: int, listener: int, private: str, begins: str) -> None:
        self.pid, self.listener, self.private = pid, listener, private.rstrip("/")
        self.begins = begins
        """A path that is opened once a person's own start-up files are through: what they tried is not the command's."""
        self.tries: dict[tuple[str, str, str], None] = {}
        self.questions: set[int] = set()
