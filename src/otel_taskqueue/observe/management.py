"""RabbitMQ's management API: one request for each queue."""

from __future__ import annotations

import base64
import json
import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import quote, unquote, urlsplit

from otel_taskqueue.observe.errors import UsageError, plain

if TYPE_CHECKING:
    from otel_taskqueue.observe.target import Target, Tls
    from otel_taskqueue.observe.voice import Voice

_COLUMNS = "name,messages_unacknowledged,head_message_timestamp"
_PATIENCE = 3.0
#: Seconds until an API that did not answer is asked again.
_PAUSE = 60.0
_UNAUTHORIZED = (401, 403)
_NOT_FOUND = 404


class Management:
    """``derived``: nobody said that there is one, so nothing is said when there is none."""

    def __init__(
        self, base: str, user: str, password: str, virtual_host: str, tls: Tls, voice: Voice, *, derived: bool
    ) -> None:
        parts = urlsplit(base)
        user, password = unquote(parts.username or "") or user, unquote(parts.password or "") or password
        place = parts.netloc.rpartition("@")[2]
        self.label = f"{parts.scheme}://{place}{parts.path}".rstrip("/")
        self._queues = f"{self.label}/api/queues/{quote(virtual_host or '/', safe='')}"
        token = base64.b64encode(f"{user}:{password}".encode()).decode()
        self._headers = {"Authorization": f"Basic {token}"}
        handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]
        if parts.scheme == "https":
            handlers.append(urllib.request.HTTPSHandler(context=tls.context()))
        self._opener = urllib.request.build_opener(*handlers)
        self._voice = voice
        self._derived = derived
        self._again = 0.0

    def usable(self) -> bool:
        """Whether it answered when it was last asked, or that is long ago."""
        return time.monotonic() >= self._again

    def queue(self, name: str) -> dict[str, Any]:
        """What it knows of a queue; empty when it does not answer."""
        url = f"{self._queues}/{quote(name, safe='')}?columns={_COLUMNS}"
        request = urllib.request.Request(url, headers=self._headers)  # noqa: S310  (http or https: checked)
        try:
            with self._opener.open(request, timeout=_PATIENCE) as answer:
                row = json.loads(answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return self._refused(error)
        except (OSError, ValueError) as error:
            return self._absent(plain(error), told=not self._derived)
        self._voice.back(self.label)
        return cast("dict[str, Any]", row) if isinstance(row, dict) else {}

    def _refused(self, error: urllib.error.HTTPError) -> dict[str, Any]:
        if error.code == _NOT_FOUND and error.headers.get("content-type", "").startswith("application/json"):
            return {}  # the queue has gone
        if error.code in _UNAUTHORIZED:
            return self._absent("it refuses this user (does it have the tag monitoring?)", told=True)
        return self._absent(f"status {error.code}", told=not self._derived)

    def _absent(self, why: str, *, told: bool) -> dict[str, Any]:
        self._again = time.monotonic() + _PAUSE
        if told:
            self._voice.away(self.label, why)
        return {}


def check(url: str) -> None:
    """Raise `UsageError` for what is no URL of HTTP."""
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise UsageError("--management-url must be http://host:port or https://host:port")


def derive(target: Target) -> str:
    """Where the plugin listens unless it is configured otherwise."""
    if target.encrypted:
        return f"https://{target.host}:15671"
    return f"http://{target.host}:15672"
