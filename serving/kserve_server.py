"""KServe's model server on the address it is told; by itself it listens on every interface."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import kserve
from grpc import StatusCode, aio  # type: ignore[import-untyped]
from kserve.errors import InvalidInput, ModelNotFound
from kserve.protocol.grpc import grpc_predict_v2_pb2_grpc as v2
from kserve.protocol.grpc.interceptors import ExceptionToStatusInterceptor
from kserve.protocol.grpc.server import GRPCServer
from kserve.protocol.grpc.servicer import InferenceServicer

from serving.compute.worker import BusyError, FullError


class BoundServer(kserve.ModelServer):  # type: ignore[misc]  # kserve is untyped
    """A `kserve.ModelServer` that listens on one address.

    Args:
        host: the address, for HTTP and gRPC.
        http_port: for HTTP.
        grpc_port: for gRPC, or None for no gRPC.
        grace_period: seconds that requests under way get on SIGTERM.
    """

    def __init__(self, host: str, http_port: int, grpc_port: int | None, grace_period: int) -> None:
        # One process: its workers crash-loop, because they must answer within 5 s of the start.
        super().__init__(
            http_port=http_port,
            workers=1,
            enable_grpc=False,
            enable_latency_logging=False,
            grace_period=grace_period,
        )
        self._host = host
        self._bound_grpc_port = grpc_port
        logging.getLogger("kserve").addFilter(_without_bad_requests)

    async def _serve(self) -> None:
        self._rest_server.config.host = self._host
        if self._bound_grpc_port is not None:
            self._grpc_server = _BoundGRPCServer(
                self._bound_grpc_port,
                self.dataplane,
                self.model_repository_extension,
                kwargs={},
                grace_period=self.grace_period,
            )
            self.servers.append(self._grpc_server.start_at(self._host))
        await asyncio.gather(*self.servers)


class _BoundGRPCServer(GRPCServer):  # type: ignore[misc]  # kserve is untyped
    """KServe's gRPC server on one address, without a log line per call."""

    async def start_at(self, host: str) -> None:
        self._server = aio.server(interceptors=(_Statuses(),))
        servicer = InferenceServicer(self._data_plane, self._model_repository_extension)
        v2.add_GRPCInferenceServiceServicer_to_server(servicer, self._server)
        self._server.add_insecure_port(f"{host}:{self._port}")
        await self._server.start()
        await self._server.wait_for_termination()


class _Statuses(ExceptionToStatusInterceptor):  # type: ignore[misc]  # kserve is untyped
    """KServe's errors as gRPC's codes, and one that KServe does not know."""

    async def handle_exception(
        self, ex: Exception, request_or_iterator: Any, context: Any, method_name: str
    ) -> None:
        if isinstance(ex, FullError):
            await context.abort(StatusCode.RESOURCE_EXHAUSTED, ex.reason)
        await super().handle_exception(ex, request_or_iterator, context, method_name)


def _without_bad_requests(record: logging.LogRecord) -> bool:
    """Keep a stack trace per refused request out of the log: whoever asked was told."""
    error: Any = record.exc_info[1] if isinstance(record.exc_info, tuple) else None
    return not isinstance(error, InvalidInput | ModelNotFound | BusyError)
