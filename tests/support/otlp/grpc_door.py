"""OTLP over gRPC, by grpcio; requests arrive as bytes, so that no generated stub is needed."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import grpc

from support.otlp.behaviour import Behaviour

if TYPE_CHECKING:
    from support.otlp.receiver import Receiver

SERVICES = {
    "opentelemetry.proto.collector.trace.v1.TraceService": "traces",
    "opentelemetry.proto.collector.logs.v1.LogsService": "logs",
    "opentelemetry.proto.collector.metrics.v1.MetricsService": "metrics",
}


class GrpcDoor:
    """One open port."""

    def __init__(self, receiver: Receiver) -> None:
        # Hanging exports each hold a thread.
        self._server = grpc.server(
            ThreadPoolExecutor(64),
            options=[("grpc.so_reuseport", 0)],
        )
        self._server.add_generic_rpc_handlers(
            [
                grpc.method_handlers_generic_handler(
                    service,
                    {"Export": grpc.unary_unary_rpc_method_handler(_answer(receiver, signal))},
                )
                for service, signal in SERVICES.items()
            ]
        )
        self.port = self._server.add_insecure_port(f"127.0.0.1:{receiver.port}")
        self._server.start()

    def close(self) -> None:
        """Close the port and cancel what is under way."""
        self._server.stop(0).wait(5)


def _answer(receiver: Receiver, signal: str) -> Callable[[bytes, grpc.ServicerContext], bytes]:
    def export(body: bytes, context: grpc.ServicerContext) -> bytes:
        if receiver.behaviour is Behaviour.HANGING:
            receiver.closing.wait()
        elif receiver.latency:
            receiver.closing.wait(receiver.latency)
        if receiver.behaviour is not Behaviour.HEALTHY:
            context.abort(grpc.StatusCode.UNAVAILABLE, "told to be away")
        return receiver.accept(signal, body)

    return export


def open_door(receiver: Receiver) -> GrpcDoor:
    """Open the receiver's port for OTLP/gRPC."""
    return GrpcDoor(receiver)
