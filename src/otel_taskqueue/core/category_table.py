"""The table: names of exceptions -> what kind of failure they are. Nothing of it is imported.

A row serves every class that inherits from the named one, unless that has a row of its own.
"""

from __future__ import annotations

from typing import NamedTuple

from otel_taskqueue.semconv import Category

_TIMEOUT, _CONNECTION, _RESOURCE = Category.TIMEOUT, Category.CONNECTION, Category.RESOURCE
_KILLED, _DEPENDENCY, _DATA = Category.KILLED, Category.DEPENDENCY, Category.DATA
_CODE, _RATE_LIMIT, _CANCELLED = Category.CODE, Category.RATE_LIMIT, Category.CANCELLED


class Row(NamedTuple):
    """Classes of one module. ``vague``: a code or a cause that the exception carries says more."""

    module: str
    category: Category
    names: str
    vague: bool = False


ROWS = (
    # --- Python: what is named bare is built in ---------------------------------------------------
    Row("", _TIMEOUT, "TimeoutError"),
    Row("", _CONNECTION, "ConnectionError"),
    Row("", _RESOURCE, "MemoryError"),
    Row("", _KILLED, "SystemExit"),
    Row("", _CANCELLED, "KeyboardInterrupt GeneratorExit"),
    Row("", _CODE, "TypeError AttributeError NameError ImportError AssertionError NotImplementedError"),
    Row("", _CODE, "SyntaxError RecursionError StopIteration StopAsyncIteration ReferenceError Warning"),
    Row("", _CODE, "PermissionError", vague=True),
    Row("", _DATA, "UnicodeError"),
    Row("", _DATA, "ValueError LookupError ArithmeticError EOFError FileNotFoundError", vague=True),
    Row("", _DATA, "FileExistsError IsADirectoryError NotADirectoryError", vague=True),
    Row("asyncio.exceptions", _CANCELLED, "CancelledError"),
    Row("asyncio.exceptions", _TIMEOUT, "TimeoutError"),
    Row("asyncio.exceptions", _CONNECTION, "IncompleteReadError"),
    Row("binascii", _DATA, "Error"),
    Row("_csv", _DATA, "Error"),
    Row("concurrent.futures._base", _CANCELLED, "CancelledError"),
    Row("concurrent.futures._base", _TIMEOUT, "TimeoutError"),
    Row("concurrent.futures._base", _KILLED, "BrokenExecutor"),
    Row("configparser", _CODE, "Error"),
    Row("ftplib", _DEPENDENCY, "Error"),
    Row("http.client", _CONNECTION, "RemoteDisconnected IncompleteRead NotConnected"),
    Row("http.client", _DEPENDENCY, "HTTPException"),
    Row("http.client", _DATA, "InvalidURL"),
    Row("imaplib", _DEPENDENCY, "IMAP4.error"),
    Row("json.decoder", _DATA, "JSONDecodeError"),
    Row("lzma", _DATA, "LZMAError"),
    Row("multiprocessing.context", _TIMEOUT, "TimeoutError"),
    Row("_pickle", _DATA, "PickleError"),
    Row("pickle", _DATA, "PickleError"),
    Row("_queue", _TIMEOUT, "Empty"),
    Row("queue", _RESOURCE, "Full"),
    Row("smtplib", _CONNECTION, "SMTPServerDisconnected SMTPConnectError"),
    Row("smtplib", _DATA, "SMTPRecipientsRefused SMTPSenderRefused"),
    Row("smtplib", _DEPENDENCY, "SMTPException"),
    Row("socket", _CONNECTION, "gaierror herror"),
    Row("ssl", _CONNECTION, "SSLError"),
    Row("struct", _DATA, "error"),
    Row("subprocess", _TIMEOUT, "TimeoutExpired"),
    Row("subprocess", _DEPENDENCY, "CalledProcessError", vague=True),
    Row("tarfile", _DATA, "TarError"),
    Row("urllib.error", _CONNECTION, "URLError", vague=True),
    Row("urllib.error", _DEPENDENCY, "HTTPError", vague=True),
    Row("xml.etree.ElementTree", _DATA, "ParseError"),
    Row("xml.parsers.expat", _DATA, "ExpatError"),
    Row("zipfile", _DATA, "BadZipFile LargeZipFile"),
    Row("zlib", _DATA, "error"),
    # --- the queues and their brokers ---------------------------------------------------------------
    Row("billiard.exceptions", _TIMEOUT, "SoftTimeLimitExceeded TimeLimitExceeded"),
    Row("billiard.exceptions", _KILLED, "WorkerLostError Terminated"),
    Row("celery.exceptions", _TIMEOUT, "TimeoutError TimeLimitExceeded"),
    Row("celery.exceptions", _CANCELLED, "TaskRevokedError"),
    Row("celery.exceptions", _DATA, "InvalidTaskError Reject"),
    Row("celery.exceptions", _CODE, "NotRegistered ImproperlyConfigured QueueNotFound IncompleteStream"),
    Row("celery.exceptions", _CODE, "NotConfigured AlreadyRegistered"),
    Row("celery.exceptions", _DEPENDENCY, "ChordError BackendError", vague=True),
    Row("kombu.exceptions", _CONNECTION, "OperationalError", vague=True),
    Row("kombu.exceptions", _RESOURCE, "LimitExceeded"),
    Row("kombu.exceptions", _DATA, "SerializationError ContentDisallowed MessageStateError"),
    Row("kombu.exceptions", _CODE, "NotBoundError VersionMismatch InconsistencyError SerializerNotInstalled"),
    Row("amqp.exceptions", _CONNECTION, "ConnectionError RecoverableConnectionError"),
    Row("amqp.exceptions", _CONNECTION, "IrrecoverableConnectionError ConnectionForced"),
    Row("amqp.exceptions", _RESOURCE, "ResourceError ContentTooLarge MessageNacked"),
    Row("amqp.exceptions", _CODE, "AccessRefused NotFound PreconditionFailed NotAllowed InvalidCommand"),
    Row("amqp.exceptions", _CODE, "ResourceLocked InvalidPath AMQPNotImplementedError"),
    Row("amqp.exceptions", _DEPENDENCY, "AMQPError"),
    Row("pika.exceptions", _CONNECTION, "AMQPConnectionError ConnectionWrongStateError StreamLostError"),
    Row(
        "pika.exceptions", _CODE, "AuthenticationError ProbableAuthenticationError ProbableAccessDeniedError"
    ),
    Row("pika.exceptions", _DEPENDENCY, "AMQPError", vague=True),
    Row("redis.exceptions", _TIMEOUT, "TimeoutError"),
    Row("redis.exceptions", _CONNECTION, "ConnectionError"),
    Row("redis.exceptions", _RESOURCE, "MaxConnectionsError OutOfMemoryError"),
    Row("redis.exceptions", _CODE, "AuthenticationError AuthorizationError NoPermissionError NoScriptError"),
    Row("redis.exceptions", _CODE, "ResponseError PubSubError"),
    Row("redis.exceptions", _DATA, "DataError"),
    Row("redis.exceptions", _DEPENDENCY, "BusyLoadingError ReadOnlyError ClusterError MasterDownError"),
    Row("redis.exceptions", _DEPENDENCY, "ClusterDownError TryAgainError"),
    Row("redis.exceptions", _DEPENDENCY, "RedisError", vague=True),
    Row("rq.timeouts", _TIMEOUT, "BaseTimeoutException"),
    Row("rq.exceptions", _TIMEOUT, "DequeueTimeout"),
    Row("rq.exceptions", _KILLED, "AbandonedJobError ShutDownImminentException"),
    Row("rq.exceptions", _DATA, "NoSuchJobError NoSuchGroupError DeserializationError"),
    Row("rq.exceptions", _CODE, "InvalidJobOperation InvalidJobDependency TimeoutFormatError"),
    Row("gevent.timeout", _TIMEOUT, "Timeout"),
    Row("eventlet.timeout", _TIMEOUT, "Timeout"),
    Row("greenlet", _CANCELLED, "GreenletExit"),
    # --- HTTP ------------------------------------------------------------------------------------------
    Row("requests.exceptions", _TIMEOUT, "Timeout"),
    Row("requests.exceptions", _CONNECTION, "SSLError ProxyError ChunkedEncodingError"),
    Row("requests.exceptions", _CONNECTION, "ConnectionError", vague=True),
    Row("requests.exceptions", _DATA, "JSONDecodeError ContentDecodingError InvalidURL MissingSchema"),
    Row("requests.exceptions", _DATA, "InvalidSchema InvalidHeader InvalidJSONError"),
    Row("requests.exceptions", _CODE, "StreamConsumedError UnrewindableBodyError"),
    Row("requests.exceptions", _DEPENDENCY, "TooManyRedirects"),
    Row("requests.exceptions", _DEPENDENCY, "RequestException", vague=True),
    Row("urllib3.exceptions", _TIMEOUT, "TimeoutError ConnectTimeoutError"),
    Row("urllib3.exceptions", _CONNECTION, "NewConnectionError NameResolutionError ProtocolError SSLError"),
    Row("urllib3.exceptions", _CONNECTION, "ProxyError MaxRetryError", vague=True),
    Row("urllib3.exceptions", _RESOURCE, "EmptyPoolError FullPoolError"),
    Row("urllib3.exceptions", _DATA, "DecodeError LocationValueError URLSchemeUnknown InvalidHeader"),
    Row("urllib3.exceptions", _DEPENDENCY, "HTTPError", vague=True),
    *(
        row
        for module in ("httpx", "httpcore")
        for row in (
            Row(module, _TIMEOUT, "TimeoutException"),
            Row(module, _RESOURCE, "PoolTimeout"),
            Row(module, _CONNECTION, "NetworkError ProtocolError ProxyError ConnectionNotAvailable"),
            Row(module, _DATA, "InvalidURL UnsupportedProtocol DecodingError"),
            Row(module, _CODE, "LocalProtocolError StreamError CookieConflict"),
            Row(module, _DEPENDENCY, "TooManyRedirects"),
            Row(module, _DEPENDENCY, "HTTPError", vague=True),
        )
    ),
    Row("aiohttp.client_exceptions", _TIMEOUT, "ServerTimeoutError"),
    Row("aiohttp.client_exceptions", _CONNECTION, "ClientConnectionError ClientPayloadError"),
    Row("aiohttp.client_exceptions", _DATA, "InvalidURL"),
    Row("aiohttp.client_exceptions", _DEPENDENCY, "ClientError", vague=True),
    # --- databases -------------------------------------------------------------------------------------
    Row("sqlalchemy.exc", _RESOURCE, "TimeoutError"),
    Row("sqlalchemy.exc", _CONNECTION, "DisconnectionError"),
    Row("sqlalchemy.exc", _DATA, "NoResultFound MultipleResultsFound"),
    Row("sqlalchemy.orm.exc", _DATA, "StaleDataError"),
    Row("sqlalchemy.exc", _CODE, "SQLAlchemyError"),
    Row("sqlalchemy.exc", _DEPENDENCY, "DBAPIError InterfaceError", vague=True),
    Row("sqlalchemy.exc", _DATA, "StatementError", vague=True),
    Row("psycopg_pool", _RESOURCE, "PoolTimeout TooManyRequests"),
    Row("psycopg_pool", _CODE, "PoolClosed"),
    Row("psycopg.errors", _TIMEOUT, "ConnectionTimeout"),
    Row("psycopg", _CONNECTION, "OperationalError InterfaceError", vague=True),
    Row("psycopg2", _CONNECTION, "OperationalError InterfaceError", vague=True),
    Row("pymongo.errors", _CONNECTION, "ConnectionFailure"),
    Row("pymongo.errors", _TIMEOUT, "NetworkTimeout ExecutionTimeout WTimeoutError"),
    Row("pymongo.errors", _DATA, "WriteError DuplicateKeyError BulkWriteError DocumentTooLarge"),
    Row("pymongo.errors", _CODE, "ConfigurationError InvalidOperation InvalidName"),
    Row("pymongo.errors", _DEPENDENCY, "PyMongoError", vague=True),
    Row("django.core.exceptions", _DATA, "ObjectDoesNotExist MultipleObjectsReturned ValidationError"),
    Row("django.core.exceptions", _DATA, "SuspiciousOperation PermissionDenied BadRequest"),
    Row("django.core.exceptions", _CODE, "ImproperlyConfigured FieldError AppRegistryNotReady"),
    # --- services and formats ------------------------------------------------------------------------------
    Row("botocore.exceptions", _TIMEOUT, "ConnectTimeoutError ReadTimeoutError WaiterError"),
    Row("botocore.exceptions", _CONNECTION, "HTTPClientError ConnectionError"),
    Row("botocore.exceptions", _DATA, "ParamValidationError ChecksumError"),
    Row(
        "botocore.exceptions",
        _CODE,
        "NoCredentialsError PartialCredentialsError ProfileNotFound ConfigNotFound",
    ),
    Row(
        "botocore.exceptions", _CODE, "NoRegionError UnknownServiceError DataNotFoundError InvalidRegionError"
    ),
    Row("botocore.exceptions", _DEPENDENCY, "BotoCoreError ClientError", vague=True),
    Row("grpc", _DEPENDENCY, "RpcError", vague=True),
    Row("elastic_transport", _CONNECTION, "ConnectionError"),
    Row("elastic_transport", _TIMEOUT, "ConnectionTimeout"),
    Row("pydantic_core._pydantic_core", _DATA, "ValidationError"),
    Row("pydantic.errors", _CODE, "PydanticUserError"),
    Row("jsonschema.exceptions", _DATA, "ValidationError"),
    Row("jsonschema.exceptions", _CODE, "SchemaError"),
    Row("yaml.error", _DATA, "YAMLError"),
    Row("jinja2.exceptions", _CODE, "TemplateError"),
    Row("PIL", _DATA, "UnidentifiedImageError"),
    Row("torch", _RESOURCE, "OutOfMemoryError"),
)

#: For classes without a row, in this order; ``*`` as in `fnmatch`. DB-API 2.0 (PEP 249) names its classes.
PATTERNS = (
    ("*RateLimit*", _RATE_LIMIT),
    ("*TooManyRequests*", _RATE_LIMIT),
    ("*Throttl*", _RATE_LIMIT),
    ("*Timeout*", _TIMEOUT),
    ("*TimedOut*", _TIMEOUT),
    ("*OutOfMemory*", _RESOURCE),
    ("*ConnectionError", _CONNECTION),
    ("*.IntegrityError", _DATA),
    ("*.DataError", _DATA),
    ("*.ProgrammingError", _CODE),
    ("*.NotSupportedError", _CODE),
    ("*.OperationalError", _DEPENDENCY),
    ("*.InternalError", _DEPENDENCY),
    ("*.InterfaceError", _DEPENDENCY),
    ("*.DatabaseError", _DEPENDENCY),
    ("*ValidationError", _DATA),
)
