"""Model servers that run on this machine and speak the Messages API: found by asking their usual ports."""

from __future__ import annotations

import json
import socket
import urllib.error
import urllib.request
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from skillrun.llm.credentials import api_root, is_local

USUAL: tuple[tuple[int, str], ...] = (
    (11434, "Ollama"),
    (1234, "LM Studio"),
    (8080, "llama.cpp"),
    (8000, "vLLM"),
    (4000, "LiteLLM"),
)
"""Port and the program that listens there unless told otherwise."""


@dataclass(frozen=True, slots=True)
class Server:
    """A server that answered: its base URL, what usually listens there, the models it names."""

    url: str
    program: str
    models: tuple[str, ...] = ()


def models_at(url: str, key: str = "", timeout_s: float = 2.0) -> tuple[str, ...] | None:
    """The models a server lists at /v1/models, empty when it lists none, None when it is not such a server."""
    request = urllib.request.Request(f"{api_root(url)}/v1/models", headers={"authorization": f"Bearer {key}"} if key else {})
    if not request.full_url.startswith(("http://", "https://")):
        return None
    try:
        opener = (
            urllib.request.build_opener(urllib.request.ProxyHandler({})) if is_local(url) else urllib.request.build_opener()
        )
        with opener.open(request, timeout=timeout_s) as answer:
            value = json.loads(answer.read(1 << 20))
    except urllib.error.HTTPError as error:
        return () if error.code in (401, 403) else None
    except (OSError, ValueError):
        return None
    rows = value.get("data") if isinstance(value, dict) else None
    if not isinstance(rows, list):
        return None
    return tuple(str(row["id"]) for row in rows if isinstance(row, dict) and "id" in row)


def find_servers(ports: Iterable[tuple[int, str]] = USUAL) -> list[Server]:
    """The model servers that answer on this machine, asked at once; a port nobody listens on costs nothing."""

    def look(port: int, program: str) -> Server | None:
        try:
            socket.create_connection(("127.0.0.1", port), 0.3).close()
        except OSError:
            return None
        url = f"http://127.0.0.1:{port}"
        models = models_at(url)
        return None if models is None else Server(url, program, models)

    pairs = list(ports)
    with ThreadPoolExecutor(max(1, len(pairs))) as pool:
        return [server for server in pool.map(lambda pair: look(*pair), pairs) if server]
