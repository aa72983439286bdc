"""The builder started through sudo: its channel is standard input."""

from __future__ import annotations

import socket

from skillrun.overlay.process.init import build_and_serve


def main() -> None:
    """Build and serve a view for the user who called sudo."""
    build_and_serve(socket.socket(fileno=0))
