"""A broker's URL: checked before anything connects, and shown without its user, password and query."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import urlsplit

from otel_taskqueue.observe.errors import UsageError

System = Literal["redis", "rabbitmq"]

_SYSTEMS: dict[str, System] = {
    "redis": "redis",
    "rediss": "redis",
    "redis+socket": "redis",
    "unix": "redis",
    "sentinel": "redis",
    "amqp": "rabbitmq",
    "amqps": "rabbitmq",
    "pyamqp": "rabbitmq",
}
_PORTS = {"redis": 6379, "rediss": 6379, "sentinel": 26379, "amqp": 5672, "pyamqp": 5672, "amqps": 5671}
_SOCKETS = frozenset({"redis+socket", "unix"})


@dataclass(frozen=True, slots=True)
class Tls:
    """How a server's certificate is checked: against ``ca_file``, else against the system's authorities."""

    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    insecure: bool = False

    @property
    def given(self) -> bool:
        """Whether anything was chosen."""
        return self != Tls()

    def for_redis(self) -> dict[str, Any]:
        """Keywords of redis-py's SSL connection."""
        return {
            "ssl_cert_reqs": ssl.CERT_NONE if self.insecure else ssl.CERT_REQUIRED,
            "ssl_check_hostname": not self.insecure,
            "ssl_ca_certs": self.ca_file,
            "ssl_certfile": self.cert_file,
            "ssl_keyfile": self.key_file,
        }

    def for_amqp(self, host: str) -> dict[str, Any]:
        """Options of py-amqp's transport."""
        options: dict[str, Any] = {
            "cert_reqs": ssl.CERT_REQUIRED,
            "ca_certs": self.ca_file,
            "certfile": self.cert_file,
            "keyfile": self.key_file,
            "server_hostname": host,
        }
        if self.insecure:  # py-amqp checks the name wherever it is told one
            del options["server_hostname"]
            options["cert_reqs"] = ssl.CERT_NONE
        return options

    def context(self) -> ssl.SSLContext:
        """The same for HTTPS."""
        context = ssl.create_default_context(cafile=self.ca_file)
        if self.insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if self.cert_file:
            context.load_cert_chain(self.cert_file, self.key_file)
        return context


@dataclass(frozen=True, slots=True)
class Target:
    """One broker; ``label`` is what may be printed and what names it in the telemetry."""

    url: str = field(repr=False)
    label: str
    system: System
    host: str
    tls: Tls = field(default_factory=Tls)

    @property
    def encrypted(self) -> bool:
        """Whether its URL asks for TLS."""
        return self.url.startswith(("rediss:", "amqps:"))


def parse(url: str, tls: Tls) -> Target:
    """Check a URL; of a list (failover) the first one counts.

    Raises:
        UsageError: no URL of a broker that can be observed.
    """
    first = url.strip().split(";")[0]
    scheme, found, rest = first.partition("://")
    system = _SYSTEMS.get(scheme.lower())
    if not found or system is None:
        known = ", ".join(f"{name}://" for name in _SYSTEMS)
        shown = f"{scheme}://" if found else "the broker's URL"
        raise UsageError(f"{shown} cannot be observed: it must begin with one of {known}")
    if scheme in _SOCKETS:
        path = rest.rpartition("@")[2].partition("?")[0]
        return Target(first, f"{scheme}://{path}", system, "", tls)
    # From the last @ on: a password may hold any other sign.
    place = rest.rpartition("@")[2].partition("?")[0]
    try:
        parts = urlsplit(f"//{place}")
        host, port = parts.hostname or "localhost", parts.port or _PORTS[scheme.lower()]
    except ValueError:
        raise UsageError(f"the broker's URL ({scheme}://...) has no usable host and port") from None
    path = parts.path if parts.path.strip("/") or system == "rabbitmq" else "/0"
    return Target(first, f"{scheme}://{host}:{port}{path.rstrip('/') or '/'}", system, host, tls)
