"""What the HTTP clients raise, against a server that misbehaves."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

import aiohttp
import httpx
import requests
import requests.adapters
import urllib3
from urllib3.util import Retry

from otel_taskqueue.semconv import Category
from support.failures import fails
from support.failures.server import Server, closed_port

REFUSED = "http://127.0.0.1:{}/"
NOWHERE = "http://no-such-host.invalid/"


@fails(Category.CONNECTION)
def requests_refused() -> None:
    requests.get(REFUSED.format(closed_port()), timeout=5)


@fails(Category.CONNECTION)
def requests_unknown_host() -> None:
    requests.get(NOWHERE, timeout=5)


@fails(Category.CONNECTION)
def requests_hung_up(server: Server) -> None:
    requests.get(server.path("/close"), timeout=5)


@fails(Category.CONNECTION)
def requests_cut(server: Server) -> None:
    requests.get(server.path("/cut"), timeout=5)


@fails(Category.CONNECTION)
def requests_tls(server: Server) -> None:
    requests.get(server.path("/").replace("http:", "https:"), timeout=5)


@fails(Category.TIMEOUT)
def requests_read_timeout(server: Server) -> None:
    requests.get(server.path("/slow"), timeout=0.05)


@fails(Category.TIMEOUT)
def requests_timeouts_after_retries(server: Server) -> None:
    with requests.Session() as session:
        session.mount("http://", requests.adapters.HTTPAdapter(max_retries=Retry(1, backoff_factor=0)))
        session.get(server.path("/slow"), timeout=0.05)


@fails(Category.RATE_LIMIT)
def requests_429(server: Server) -> None:
    requests.get(server.url(429), timeout=5).raise_for_status()


@fails(Category.RATE_LIMIT)
def requests_429_after_retries(server: Server) -> None:
    _with_retries(server, 429)


@fails(Category.DEPENDENCY)
def requests_503_after_retries(server: Server) -> None:
    _with_retries(server, 503)


@fails(Category.DEPENDENCY)
def requests_500(server: Server) -> None:
    requests.get(server.url(500), timeout=5).raise_for_status()


@fails(Category.DATA)
def requests_422(server: Server) -> None:
    requests.post(server.url(422), timeout=5).raise_for_status()


@fails(Category.TIMEOUT)
def requests_408(server: Server) -> None:
    requests.get(server.url(408), timeout=5).raise_for_status()


@fails(Category.DATA)
def requests_no_json(server: Server) -> None:
    requests.get(server.path("/text"), timeout=5).json()


@fails(Category.DATA)
def requests_bad_address() -> None:
    requests.get("shop.example/orders", timeout=5)


@fails(Category.DEPENDENCY)
def requests_too_many_redirects(server: Server) -> None:
    requests.get(server.path("/loop"), timeout=5)


@fails(Category.CONNECTION)
def urllib3_refused() -> None:
    urllib3.PoolManager(retries=0).request("GET", REFUSED.format(closed_port()))


@fails(Category.TIMEOUT)
def urllib3_read_timeout(server: Server) -> None:
    urllib3.PoolManager(retries=False, timeout=0.05).request("GET", server.path("/slow"))


@fails(Category.RESOURCE)
def urllib3_pool_exhausted(server: Server) -> None:
    pool = urllib3.HTTPConnectionPool("127.0.0.1", server.port, maxsize=1, block=True)
    pool._get_conn()
    pool.request("GET", "/", pool_timeout=0.01, retries=False)


@fails(Category.CONNECTION)
def httpx_refused() -> None:
    httpx.get(REFUSED.format(closed_port()))


@fails(Category.CONNECTION)
def httpx_hung_up(server: Server) -> None:
    httpx.get(server.path("/close"))


@fails(Category.TIMEOUT)
def httpx_read_timeout(server: Server) -> None:
    httpx.get(server.path("/slow"), timeout=0.05)


@fails(Category.RESOURCE)
def httpx_pool_exhausted(server: Server) -> None:
    limits, timeout = httpx.Limits(max_connections=1), httpx.Timeout(5, pool=0.01)
    address = server.path("/text")
    with httpx.Client(limits=limits, timeout=timeout) as client, client.stream("GET", address):
        client.get(address)


@fails(Category.RATE_LIMIT)
def httpx_429(server: Server) -> None:
    httpx.get(server.url(429)).raise_for_status()


@fails(Category.DEPENDENCY)
def httpx_502(server: Server) -> None:
    httpx.get(server.url(502)).raise_for_status()


@fails(Category.DATA)
def httpx_400(server: Server) -> None:
    httpx.get(server.url(400)).raise_for_status()


@fails(Category.DATA)
def httpx_unsupported_protocol() -> None:
    httpx.get("ftp://shop.example/")


@fails(Category.CONNECTION)
def aiohttp_refused() -> None:
    asyncio.run(_aiohttp(REFUSED.format(closed_port())))


@fails(Category.TIMEOUT)
def aiohttp_timeout(server: Server) -> None:
    asyncio.run(_aiohttp(server.path("/slow")))


@fails(Category.RATE_LIMIT)
def aiohttp_429(server: Server) -> None:
    asyncio.run(_aiohttp(server.url(429)))


@fails(Category.DEPENDENCY)
def aiohttp_500(server: Server) -> None:
    asyncio.run(_aiohttp(server.url(500)))


def _with_retries(server: Server, status: int) -> None:
    retry = Retry(1, backoff_factor=0, status_forcelist=[status], respect_retry_after_header=False)
    with requests.Session() as session:
        session.mount("http://", requests.adapters.HTTPAdapter(max_retries=retry))
        session.get(server.url(status), timeout=5)


async def _aiohttp(address: str) -> None:
    timeout = aiohttp.ClientTimeout(total=0.3)
    async with aiohttp.ClientSession(timeout=timeout, raise_for_status=True) as session:
        await _read(session.get(address))


async def _read(response: Awaitable[aiohttp.ClientResponse]) -> None:
    await (await response).read()
