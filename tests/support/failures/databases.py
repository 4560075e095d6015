"""What databases raise, bare and behind an object mapper."""

from __future__ import annotations

import sqlite3

import django.core.exceptions
import psycopg
import psycopg.errors
import pymysql
import pymysql.err
import sqlalchemy
import sqlalchemy.exc
from sqlalchemy.pool import QueuePool

from otel_taskqueue.semconv import Category
from support.failures import fails
from support.failures.server import closed_port


def _engine(**options: object) -> sqlalchemy.Engine:
    return sqlalchemy.create_engine("sqlite://", **options)


def _execute(*statements: str) -> None:
    with _engine().begin() as connection:
        for statement in statements:
            connection.execute(sqlalchemy.text(statement))


def _refused_by_postgres(sqlstate: str) -> psycopg.Error:
    """What psycopg raises for an answer of the server with this code."""
    return psycopg.errors.lookup(sqlstate)("the server says no")


def _behind_sqlalchemy(error: Exception, statement: str = "select 1") -> None:
    """As SQLAlchemy raises what the driver has raised."""
    try:
        raise error  # noqa: TRY301  as a driver does, deep inside
    except Exception as caught:
        raise sqlalchemy.exc.DBAPIError.instance(statement, {}, caught, psycopg.Error) from caught


@fails(Category.DATA)
def sqlite_integrity() -> None:
    with sqlite3.connect(":memory:") as database:
        database.execute("create table orders (id integer primary key)")
        database.executemany("insert into orders values (?)", [(1,), (1,)])


@fails(Category.DATA)
def sqlalchemy_integrity() -> None:
    _execute(
        "create table o (id integer primary key)", "insert into o values (1)", "insert into o values (1)"
    )


@fails(Category.DEPENDENCY)
def sqlalchemy_operational() -> None:
    _execute("select * from no_such_table")


@fails(Category.DATA)
def sqlalchemy_no_result() -> None:
    with _engine().connect() as connection:
        connection.execute(sqlalchemy.text("select 1 where 1 = 0")).one()


@fails(Category.CODE)
def sqlalchemy_bad_argument() -> None:
    sqlalchemy.create_engine("no such url")


@fails(Category.RESOURCE)
def sqlalchemy_pool_exhausted() -> None:
    engine = _engine(poolclass=QueuePool, pool_size=1, max_overflow=0, pool_timeout=0.01)
    with engine.connect():
        engine.connect()


@fails(Category.CONNECTION)
def psycopg_refused() -> None:
    psycopg.connect(f"host=127.0.0.1 port={closed_port()} connect_timeout=2")


@fails(Category.CONNECTION)
def sqlalchemy_psycopg_refused() -> None:
    sqlalchemy.create_engine(f"postgresql+psycopg://127.0.0.1:{closed_port()}/shop").connect()


@fails(Category.DATA)
def psycopg_unique_violation() -> None:
    raise _refused_by_postgres("23505")


@fails(Category.DATA)
def sqlalchemy_psycopg_unique_violation() -> None:
    _behind_sqlalchemy(_refused_by_postgres("23505"))


@fails(Category.TIMEOUT)
def sqlalchemy_psycopg_statement_timeout() -> None:
    _behind_sqlalchemy(_refused_by_postgres("57014"))


@fails(Category.CODE)
def sqlalchemy_psycopg_undefined_table() -> None:
    _behind_sqlalchemy(_refused_by_postgres("42P01"))


@fails(Category.DEPENDENCY)
def sqlalchemy_psycopg_deadlock() -> None:
    _behind_sqlalchemy(_refused_by_postgres("40P01"))


@fails(Category.RESOURCE)
def psycopg_too_many_connections() -> None:
    raise _refused_by_postgres("53300")


@fails(Category.CONNECTION)
def psycopg_admin_shutdown() -> None:
    raise _refused_by_postgres("57P01")


@fails(Category.CONNECTION)
def pymysql_refused() -> None:
    pymysql.connect(host="127.0.0.1", port=closed_port())


@fails(Category.TIMEOUT)
def pymysql_lock_wait_timeout() -> None:
    pymysql.err.raise_mysql_exception(b"\xff" + (1205).to_bytes(2, "little") + b"#HY000Lock wait timeout")


@fails(Category.DATA)
def pymysql_duplicate_entry() -> None:
    pymysql.err.raise_mysql_exception(b"\xff" + (1062).to_bytes(2, "little") + b"#23000Duplicate entry")


@fails(Category.RESOURCE)
def pymysql_too_many_connections() -> None:
    pymysql.err.raise_mysql_exception(b"\xff" + (1040).to_bytes(2, "little") + b"#08004Too many connections")


@fails(Category.DATA)
def django_does_not_exist() -> None:
    class DoesNotExist(django.core.exceptions.ObjectDoesNotExist):
        """As each model has one."""

    raise DoesNotExist("Order matching query does not exist.")


@fails(Category.CODE)
def django_not_configured() -> None:
    from django.db.models import Model

    class Order(Model):  # noqa: DJ008
        class Meta:
            app_label = "shop"

    Order.objects.get(pk=1)
