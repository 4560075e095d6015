"""What clients of services and checkers of data raise."""

from __future__ import annotations

import botocore.exceptions
import botocore.session
import grpc
import pydantic
from botocore.config import Config

from otel_taskqueue.semconv import Category
from support.failures import fails
from support.failures.server import Server, closed_port


def _s3(address: str, **options: object) -> object:
    session = botocore.session.Session()
    session.set_credentials("id", "secret")
    config = Config(retries={"max_attempts": 0}, s3={"addressing_style": "path"}, **options)
    return session.create_client("s3", region_name="eu-west-1", endpoint_url=address, config=config)


def _answered(code: str, status: int) -> botocore.exceptions.ClientError:
    answer = {"Error": {"Code": code, "Message": "no"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return botocore.exceptions.ClientError(answer, "PutItem")


@fails(Category.CONNECTION)
def botocore_refused() -> None:
    _s3(f"http://127.0.0.1:{closed_port()}").list_buckets()


@fails(Category.TIMEOUT)
def botocore_read_timeout(server: Server) -> None:
    _s3(server.path("/slow"), read_timeout=0.05).head_bucket(Bucket="orders")


@fails(Category.DEPENDENCY)
def botocore_500(server: Server) -> None:
    _s3(server.path("/status")).head_bucket(Bucket="500")


@fails(Category.RATE_LIMIT)
def botocore_throttled() -> None:
    raise _answered("ProvisionedThroughputExceededException", 400)


@fails(Category.RATE_LIMIT)
def botocore_slow_down() -> None:
    raise _answered("SlowDown", 503)


@fails(Category.DATA)
def botocore_not_found() -> None:
    raise _answered("NoSuchKey", 404)


@fails(Category.DATA)
def botocore_bad_parameter(server: Server) -> None:
    _s3(server.path("/")).head_object(Bucket="orders")


@fails(Category.CODE)
def botocore_no_credentials() -> None:
    raise botocore.exceptions.NoCredentialsError


@fails(Category.CONNECTION)
def grpc_unavailable() -> None:
    with grpc.insecure_channel(f"127.0.0.1:{closed_port()}") as channel:
        channel.unary_unary("/shop.Orders/Pay")(b"", timeout=5)


@fails(Category.TIMEOUT)
def grpc_deadline() -> None:
    with grpc.insecure_channel(f"127.0.0.1:{closed_port()}") as channel:
        channel.unary_unary("/shop.Orders/Pay")(b"", timeout=0.02, wait_for_ready=True)


@fails(Category.DATA)
def pydantic_validation() -> None:
    class Order(pydantic.BaseModel):
        count: int

    Order(count="many")  # type: ignore[arg-type]


@fails(Category.CODE)
def pydantic_misuse() -> None:
    class Order(pydantic.BaseModel):
        count: object.__class__.__call__  # type: ignore[valid-type]

    assert Order
