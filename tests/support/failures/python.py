"""What Python and its standard library raise."""

from __future__ import annotations

import asyncio
import concurrent.futures
import configparser
import csv
import decimal
import http.client
import json
import multiprocessing
import os
import pickle
import queue
import smtplib
import socket
import ssl
import struct
import subprocess
import sys
import threading
import urllib.request
import xml.etree.ElementTree as ET
import zipfile
from io import BytesIO
from pathlib import Path

from otel_taskqueue.semconv import Category
from support.failures import fails
from support.failures.server import Server, closed_port


@fails(Category.TIMEOUT)
def socket_timeout(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=0.05) as connection:
        connection.recv(1)


@fails(Category.TIMEOUT)
def asyncio_wait_for() -> None:
    asyncio.run(asyncio.wait_for(asyncio.sleep(10), 0.01))


@fails(Category.TIMEOUT)
def future_result() -> None:
    concurrent.futures.Future[None]().result(timeout=0.01)


@fails(Category.TIMEOUT)
def subprocess_timeout() -> None:
    subprocess.run([sys.executable, "-c", "import time; time.sleep(30)"], timeout=0.05, check=False)


@fails(Category.TIMEOUT)
def queue_empty() -> None:
    queue.Queue[int]().get(timeout=0.01)


@fails(Category.RESOURCE)
def queue_full() -> None:
    full = queue.Queue[int](1)
    full.put(1)
    full.put_nowait(2)


@fails(Category.CONNECTION)
def connection_refused() -> None:
    socket.create_connection(("127.0.0.1", closed_port()))


@fails(Category.CONNECTION)
def unknown_host() -> None:
    socket.getaddrinfo("no-such-host.invalid", 80)


@fails(Category.CONNECTION)
def broken_pipe() -> None:
    here, there = socket.socketpair()
    there.close()
    with here:
        here.sendall(b"x")


@fails(Category.CONNECTION)
def remote_disconnected(server: Server) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port)
    connection.request("GET", "/close")
    connection.getresponse()


@fails(Category.CONNECTION)
def urlopen_refused() -> None:
    urllib.request.urlopen(f"http://127.0.0.1:{closed_port()}/")


@fails(Category.CONNECTION)
def tls_to_a_plain_port(server: Server) -> None:
    plain = socket.create_connection(("127.0.0.1", server.port))
    plain.sendall(b"GET /status/200 HTTP/1.0\r\n\r\n")
    ssl.create_default_context().wrap_socket(plain, server_hostname="localhost")


@fails(Category.CONNECTION)
def smtp_refused() -> None:
    smtplib.SMTP("127.0.0.1", closed_port())


@fails(Category.CONNECTION)
def stream_cut() -> None:
    async def read() -> None:
        reader = asyncio.StreamReader()
        reader.feed_data(b"ab")
        reader.feed_eof()
        await reader.readexactly(4)

    asyncio.run(read())


@fails(Category.RATE_LIMIT)
def urlopen_429(server: Server) -> None:
    urllib.request.urlopen(server.url(429))


@fails(Category.DEPENDENCY)
def urlopen_503(server: Server) -> None:
    urllib.request.urlopen(server.url(503))


@fails(Category.DATA)
def urlopen_404(server: Server) -> None:
    urllib.request.urlopen(server.url(404))


@fails(Category.RESOURCE)
def out_of_memory() -> None:
    bytearray(1 << 62)


@fails(Category.RESOURCE)
def disk_full() -> None:
    with Path("/dev/full").open("w", encoding="ascii") as full:
        full.write("x" * 100_000)


@fails(Category.RESOURCE)
def address_in_use(server: Server) -> None:
    with socket.socket() as second:
        second.bind(("127.0.0.1", server.port))


@fails(Category.KILLED)
def sys_exit() -> None:
    sys.exit(3)


@fails(Category.KILLED)
def called_program_was_killed() -> None:
    subprocess.run([sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"], check=True)


@fails(Category.KILLED)
def broken_process_pool() -> None:
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, context) as pool:
        pool.submit(os._exit, 1).result()


@fails(Category.DEPENDENCY)
def called_program_failed() -> None:
    subprocess.run([sys.executable, "-c", "raise SystemExit(4)"], check=True)


@fails(Category.CANCELLED)
def asyncio_cancelled() -> None:
    async def cancel_itself() -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(0)

    asyncio.run(cancel_itself())


@fails(Category.CANCELLED)
def future_cancelled() -> None:
    future = concurrent.futures.Future[None]()
    future.cancel()
    future.result()


@fails(Category.CANCELLED)
def keyboard_interrupt() -> None:
    raise KeyboardInterrupt


@fails(Category.CODE)
def type_error() -> None:
    len(5)  # type: ignore[arg-type]


@fails(Category.CODE)
def attribute_error() -> None:
    None.strip()  # type: ignore[attr-defined]


@fails(Category.CODE)
def import_error() -> None:
    import no_such_module_anywhere  # type: ignore[import-not-found]  # noqa: F401


@fails(Category.CODE)
def name_error() -> None:
    no_such_name  # type: ignore[name-defined]  # noqa: B018, F821


@fails(Category.CODE)
def assertion_error() -> None:
    assert not threading.main_thread()


@fails(Category.CODE)
def recursion() -> None:
    recursion()


@fails(Category.CODE)
def no_permission() -> None:
    raise PermissionError(13, os.strerror(13), "/etc/shadow")


@fails(Category.CODE)
def config_without_section() -> None:
    configparser.ConfigParser().get("shop", "url")


@fails(Category.DATA)
def value_error() -> None:
    int("twelve")


@fails(Category.DATA)
def key_error() -> None:
    json.loads("{}")["order"]


@fails(Category.DATA)
def json_decode() -> None:
    json.loads("{not json")


@fails(Category.DATA)
def unicode_decode() -> None:
    b"\xff".decode("utf-8")


@fails(Category.DATA)
def division_by_zero() -> None:
    1 / 0  # noqa: B018


@fails(Category.DATA)
def bad_decimal() -> None:
    decimal.Decimal("many")


@fails(Category.DATA)
def bad_pickle() -> None:
    pickle.loads(b"rubbish")


@fails(Category.DATA)
def bad_struct() -> None:
    struct.unpack("!I", b"ab")


@fails(Category.DATA)
def bad_xml() -> None:
    ET.fromstring("<order>")


@fails(Category.DATA)
def bad_zip() -> None:
    zipfile.ZipFile(BytesIO(b"no zip"))


@fails(Category.DATA)
def bad_csv() -> None:
    list(csv.reader(["a\0b\n"], strict=True))
    raise csv.Error("line contains NUL")  # Python 3.11 takes it


@fails(Category.DATA)
def no_such_file() -> None:
    Path("/no/such/order.json").read_text(encoding="utf-8")


@fails(Category.UNKNOWN)
def runtime_error() -> None:
    raise RuntimeError("something went wrong")


@fails(Category.UNKNOWN)
def own_exception() -> None:
    class OrderError(Exception):
        pass

    raise OrderError("no")
