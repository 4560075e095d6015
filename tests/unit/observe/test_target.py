"""A broker's URL: what is accepted, what is shown, and that no password ever is."""

from __future__ import annotations

import ssl

import pytest

from otel_taskqueue.observe.errors import UsageError
from otel_taskqueue.observe.target import Tls, parse

SECRET = "s3cr@t:/?#"


@pytest.mark.parametrize(
    ("url", "label", "system"),
    [
        ("redis://host", "redis://host:6379/0", "redis"),
        ("redis://:pw@host:7000/3", "redis://host:7000/3", "redis"),
        ("rediss://user:pw@host/1?ssl_cert_reqs=required", "rediss://host:6379/1", "redis"),
        ("redis://user:p@ss@host/0", "redis://host:6379/0", "redis"),
        ("unix://user:pw@/run/redis.sock?db=2", "unix:///run/redis.sock", "redis"),
        ("sentinel://:pw@one:26380/0;sentinel://two", "sentinel://one:26380/0", "redis"),
        ("amqp://user:pw@host//", "amqp://host:5672/", "rabbitmq"),
        ("amqps://user:pw@host/shop", "amqps://host:5671/shop", "rabbitmq"),
        ("redis://[::1]:7000/0", "redis://::1:7000/0", "redis"),
    ],
)
def test_a_url_is_named_without_its_credentials(url: str, label: str, system: str) -> None:
    """Scheme, host, port and database or virtual host."""
    found = parse(url, Tls())
    assert (label, system) == (found.label, found.system)
    assert "pw" not in repr(found)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "host:6379",
        f"kafka://user:{SECRET}@host",
        f"redis://user:{SECRET}@host:port/0",
        f"redis://user:{SECRET}@host:99999/0",
        f"://{SECRET}",
    ],
)
def test_what_cannot_be_observed_is_refused_without_showing_it(url: str) -> None:
    """The message names the scheme at most."""
    with pytest.raises(UsageError) as refused:
        parse(url, Tls())
    assert not any(part in str(refused.value) for part in ("s3cr", "@host"))


def test_certificates_are_checked_unless_somebody_says_otherwise() -> None:
    """Against the system's authorities, or the file; by name too."""
    assert Tls().for_redis()["ssl_cert_reqs"] == ssl.CERT_REQUIRED
    assert Tls().for_redis()["ssl_check_hostname"]
    assert Tls().for_amqp("host")["server_hostname"] == "host"
    assert Tls(insecure=True).for_redis()["ssl_cert_reqs"] == ssl.CERT_NONE
    assert "server_hostname" not in Tls(insecure=True).for_amqp("host")
    assert Tls().context().verify_mode == ssl.CERT_REQUIRED
    assert Tls(insecure=True).context().verify_mode == ssl.CERT_NONE
