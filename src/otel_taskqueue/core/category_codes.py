"""What numbers and codes on an exception say of its category: errno, HTTP, gRPC, SQLSTATE ...

Everything is read from foreign objects whose attributes may be properties that raise: `look`.
"""

from __future__ import annotations

import errno
import re
from typing import Any, Final

from otel_taskqueue.semconv import Category

_ERRNO: Final = {
    **dict.fromkeys((errno.ETIMEDOUT, errno.ETIME), Category.TIMEOUT),
    **dict.fromkeys(
        (
            errno.ECONNREFUSED,
            errno.ECONNRESET,
            errno.ECONNABORTED,
            errno.EPIPE,
            errno.ENOTCONN,
            errno.ESHUTDOWN,
            errno.EHOSTUNREACH,
            errno.EHOSTDOWN,
            errno.ENETUNREACH,
            errno.ENETDOWN,
            errno.ENETRESET,
            errno.EADDRNOTAVAIL,
        ),
        Category.CONNECTION,
    ),
    **dict.fromkeys(
        (
            errno.ENOMEM,
            errno.ENOSPC,
            errno.EDQUOT,
            errno.EMFILE,
            errno.ENFILE,
            errno.EAGAIN,
            errno.EFBIG,
            errno.ENOBUFS,
            errno.EADDRINUSE,
        ),
        Category.RESOURCE,
    ),
    **dict.fromkeys((errno.EIO, errno.ESTALE), Category.DEPENDENCY),
}
#: By the code's beginning, the longest first (PostgreSQL, appendix A).
_SQLSTATE: Final = (
    ("57014", Category.TIMEOUT),  # also statement_timeout
    ("55P03", Category.TIMEOUT),  # lock_timeout
    ("25P03", Category.TIMEOUT),
    ("57P", Category.CONNECTION),
    ("08", Category.CONNECTION),
    ("53", Category.RESOURCE),
    ("21", Category.DATA),
    ("22", Category.DATA),
    ("23", Category.DATA),
    ("40", Category.DEPENDENCY),
    ("55", Category.DEPENDENCY),
    ("57", Category.DEPENDENCY),
    ("58", Category.DEPENDENCY),
    ("XX", Category.DEPENDENCY),
    *((prefix, Category.CODE) for prefix in ("0A", "25", "26", "28", "34", "3D", "3F", "42", "54")),
)
#: Error numbers of MySQL and MariaDB, which their classes do not tell apart.
_MYSQL: Final = {
    **dict.fromkeys((1205, 1969, 3024), Category.TIMEOUT),
    **dict.fromkeys((1053, 1077, 1152, 2002, 2003, 2005, 2006, 2013, 2055), Category.CONNECTION),
    **dict.fromkeys((1021, 1037, 1038, 1040, 1041, 1114, 1203, 1226), Category.RESOURCE),
    **dict.fromkeys((1044, 1045, 1049, 1142), Category.CODE),
    1213: Category.DEPENDENCY,
}
_GRPC: Final = {
    "CANCELLED": Category.CANCELLED,
    "DEADLINE_EXCEEDED": Category.TIMEOUT,
    "UNAVAILABLE": Category.CONNECTION,
    "RESOURCE_EXHAUSTED": Category.RATE_LIMIT,
    "UNIMPLEMENTED": Category.CODE,
    **dict.fromkeys(
        (
            "INVALID_ARGUMENT",
            "NOT_FOUND",
            "ALREADY_EXISTS",
            "PERMISSION_DENIED",
            "UNAUTHENTICATED",
            "FAILED_PRECONDITION",
            "OUT_OF_RANGE",
        ),
        Category.DATA,
    ),
}
#: Codes of cloud services that answer 400 or 503 to whoever asks too often.
_SLOW_DOWN: Final = re.compile(
    r"Throttl|TooManyRequests|SlowDown|RequestLimitExceeded|ThroughputExceeded|BandwidthLimit"
)
#: urllib3 has no attribute for it: "too many 503 error responses".
_TOO_MANY: Final = re.compile(r"too many (\d{3}) error responses")
_STATUS_NAMES: Final = ("status_code", "http_status", "status", "code")


def look(thing: Any, name: str) -> Any:
    """An attribute of a foreign object; None when there is none, or when reading it fails."""
    try:
        return getattr(thing, name, None)
    except Exception:  # noqa: BLE001  any error of a foreign __getattr__ or property
        return None


def is_a(thing: Any, kind: type) -> bool:
    """As `isinstance`, but without a look at a foreign ``__class__``."""
    return issubclass(type(thing), kind)


def is_bare(error: BaseException) -> bool:
    """Whether it is one of Python's own, to which nobody has added anything: most of them are."""
    return type(error).__module__ == "builtins" and not look(error, "__dict__")


def of(error: BaseException) -> Category | None:
    """What the codes of the exception say, None when there are none."""
    if is_a(error, OSError):
        found = _ERRNO.get(_whole(look(error, "errno")) or 0)
        if found is not None:
            return found
    if is_bare(error):
        return None
    return _of_grpc(error) or _of_sql(error) or _of_exit(error) or _of_http(error)


def _of_http(error: BaseException) -> Category | None:
    response = look(error, "response")
    if is_a(response, dict):
        return _of_cloud(error)
    for thing in (response, error, look(error, "resp")):
        for name in _STATUS_NAMES if thing is not None else ():
            found = of_status(_whole(look(thing, name)))
            if found is not None:
                return found
    return _of_text(error)


def of_status(status: int | None) -> Category | None:
    """An HTTP status of 400 or above."""
    if status is None or not 400 <= status <= 599:  # noqa: PLR2004  client and server errors
        return None
    special = {408: Category.TIMEOUT, 429: Category.RATE_LIMIT}
    return special.get(status, Category.DATA if status < 500 else Category.DEPENDENCY)  # noqa: PLR2004


def _of_cloud(error: BaseException) -> Category | None:
    """What ``ClientError.response`` of botocore holds."""
    try:
        response: Any = look(error, "response")
        if _SLOW_DOWN.search(str(response.get("Error", {}).get("Code", ""))):
            return Category.RATE_LIMIT
        return of_status(_whole(response.get("ResponseMetadata", {}).get("HTTPStatusCode")))
    except Exception:  # noqa: BLE001  a dictionary of any form
        return None


def _of_text(error: BaseException) -> Category | None:
    if type(error).__module__ != "urllib3.exceptions" or not error.args:
        return None
    found = _TOO_MANY.search(str(error.args[0])) if is_a(error.args[0], str) else None
    return of_status(int(found[1])) if found else None


def _of_grpc(error: BaseException) -> Category | None:
    if not any(kind.__module__.startswith("grpc") for kind in type(error).__mro__):
        return None
    try:
        return _GRPC.get(error.code().name)  # type: ignore[attr-defined]
    except Exception:  # noqa: BLE001  a call of a foreign method
        return None


def _of_sql(error: BaseException) -> Category | None:
    if type(error).__module__.partition(".")[0] in {"pymysql", "MySQLdb", "mysql", "asyncmy"}:
        return _MYSQL.get(_whole(error.args[0] if error.args else None) or 0)
    state = look(error, "sqlstate") or look(error, "pgcode")
    if not is_a(state, str):
        return None
    return next((found for prefix, found in _SQLSTATE if state.startswith(prefix)), None)


def _of_exit(error: BaseException) -> Category | None:
    """A program that was called (`subprocess.CalledProcessError`) and died of a signal."""
    status = _whole(look(error, "returncode"))
    return Category.KILLED if status is not None and status < 0 else None


def _whole(value: Any) -> int | None:
    return int(value) if is_a(value, int) and not is_a(value, bool) else None
