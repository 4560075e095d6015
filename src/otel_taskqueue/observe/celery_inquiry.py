"""Asks Celery's workers on Redis for their queues: one message to all, and one list for their answers.

`celery inspect` opens a connection, declares a queue and waits on it: some 50 commands. Here the workers
answer by the default exchange, which needs no binding, and the list is read once, after a second.
"""

from __future__ import annotations

import json
import time
import uuid
from typing import TYPE_CHECKING, Any, cast

from redis.exceptions import ResponseError

from otel_taskqueue.observe.redis_batch import text

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from otel_taskqueue.observe.redis_batch import Batch

#: Seconds in which a worker that is not busy answers.
_PATIENCE = 1.0
#: Answers read at once.
_MOST = 10_000

Answers = dict[str, frozenset[str]]


class Inquiry:
    """``channel`` is kombu's, of the observed broker; ``group`` names those of whom one leads."""

    def __init__(self, app: Any, channel: Any, group: str) -> None:
        self._mailbox = app.control.mailbox
        self._channel = channel
        # Named as replies to `celery inspect` are, for users with narrow rights.
        self._queue = f"otel-taskqueue.{group}.{self._mailbox.reply_exchange.name}"
        self._key = (getattr(channel, "global_keyprefix", "") or "") + self._queue
        # One for all questions: a late answer is as good, the former leader's is not.
        self._ticket = uuid.uuid4().hex

    def ask(self, batch: Batch, names: Collection[str] | None) -> Answers:
        """The queues of those who answer, of all workers or of the ones named; two commands."""
        batch.commands += 1
        self._send(names)
        time.sleep(_PATIENCE)
        answers: Answers = {}
        for answer in reversed(self._take(batch)):  # the latest is the first
            answers.update(self._read(answer))
        return answers

    def _take(self, batch: Batch) -> Sequence[Any]:
        try:
            return batch.run([("LPOP", self._key, _MOST)])[0] or ()
        except ResponseError as error:
            if "number of arguments" not in str(error):
                raise
            return batch.run([("LRANGE", self._key, 0, -1), ("DEL", self._key)])[0] or ()  # before Redis 6.2

    def _send(self, names: Collection[str] | None) -> None:
        from kombu.messaging import Producer  # noqa: PLC0415  (an extra)

        question = {
            "method": "active_queues",
            "arguments": {},
            "destination": None if names is None else list(names),
            "pattern": None,
            "matcher": None,
            "ticket": self._ticket,
            "reply_to": {"exchange": "", "routing_key": self._queue},
        }
        exchange: Any = self._mailbox.exchange
        producer: Any = Producer(self._channel, auto_declare=False)
        producer.publish(
            question,
            exchange=exchange.name,
            declare=[exchange],
            headers={"clock": self._mailbox.clock.forward(), "expires": 0},
            serializer=self._mailbox.serializer,
        )

    def _read(self, answer: Any) -> Answers:
        """What one worker says; nothing if it answers another's question, or is not understood."""
        try:
            message: Any = self._channel.Message(
                json.loads(text(answer)), channel=self._channel, accept=self._accepted()
            )
            if message.headers.get("ticket") != self._ticket:
                return {}
            told = cast("dict[str, list[dict[str, Any]]]", message.decode())
            return {name: frozenset(queue["name"] for queue in queues) for name, queues in told.items()}
        except Exception:  # noqa: BLE001  (each serializer has its own errors)
            return {}

    def _accepted(self) -> Any:
        from kombu import serialization  # noqa: PLC0415  (an extra)

        kombu: Any = serialization
        return kombu.prepare_accept_content(self._mailbox.accept)
