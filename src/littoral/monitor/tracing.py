"""Traces that follow one request across sites, by OpenTelemetry (`pip install 'littoral[otel]'`).

    door > place > run            here
             └── cross > door > place > run       there, and so on

A span's context crosses as W3C `traceparent`: a header over HTTP, metadata over gRPC. Where to is said by the standard
environment variables (`OTEL_EXPORTER_OTLP_ENDPOINT` and its kin). Whoever does not trace has no object of this file's:
nothing is wrapped, and a caller's `traceparent` is read and forgotten. The one file that imports OpenTelemetry.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import TYPE_CHECKING, Any

from littoral.core.errors import Invalid, LittoralError, Unavailable
from littoral.core.request import InferAnswer, InferRequest
from littoral.core.version import VERSION

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span

TRACEPARENT = "traceparent"
_WELL_FORMED = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
_HINT = "Run: pip install 'littoral[otel]'"

Begun = InferAnswer | asyncio.Future[InferAnswer]
Begin = Callable[[InferRequest], Begun]

_INCOMING: ContextVar[str] = ContextVar("littoral_incoming", default="")
_OUTGOING: ContextVar[str] = ContextVar("littoral_outgoing", default="")
_CURRENT: ContextVar[Span | None] = ContextVar("littoral_span", default=None)


@contextmanager
def incoming(traceparent: str) -> Iterator[None]:
    """What begins within belongs to a caller's trace; what is not well-formed is no trace, as W3C wants it."""
    token = _INCOMING.set(traceparent if _WELL_FORMED.fullmatch(traceparent) else "")
    try:
        yield
    finally:
        _INCOMING.reset(token)


def outgoing() -> tuple[tuple[str, str], ...]:
    """The header that a call to another server bears now; none where nobody traces."""
    traceparent = _OUTGOING.get()
    return ((TRACEPARENT, traceparent),) if traceparent else ()


class Tracing:
    """Makes spans for one site; used from its event loop. `close` waits until what was recorded is sent."""

    def __init__(self, provider: TracerProvider, *, site: str) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("littoral", VERSION)
        self._site = site

    @classmethod
    def from_environment(cls, site: str, environment: Mapping[str, str] = os.environ) -> Tracing:
        """As the standard environment variables say; `Unavailable` (`extra_missing`) without the libraries."""
        try:
            from opentelemetry.sdk.resources import Resource
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.export import BatchSpanProcessor
        except ImportError as error:
            raise _missing("opentelemetry-sdk") from error
        exporter = _exporter(environment)
        named = {} if "OTEL_SERVICE_NAME" in environment else {"service.name": "littoral"}
        resource = Resource.create({**named, "service.instance.id": site, "service.version": VERSION})
        provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        if exporter is not None:
            provider.add_span_processor(BatchSpanProcessor(exporter))
        return cls(provider, site=site)

    def door(self, begin: Begin) -> Begin:
        """The same, where a request comes in: its span belongs to the caller's trace, or begins one."""

        def begun(request: InferRequest) -> Begun:
            return self._within("door", begin, request, parent=_extracted(_INCOMING.get()), kind="SERVER")

        return begun

    def step(self, name: str, begin: Begin) -> Begin:
        """The same as a step of what is going on."""

        def begun(request: InferRequest) -> Begun:
            return self._within(name, begin, request, parent=_inside(_CURRENT.get()), kind="INTERNAL")

        return begun

    async def cross(
        self, upstream: str, request: InferRequest, ask: Callable[[], Awaitable[InferAnswer]]
    ) -> InferAnswer:
        """A call to another server, which goes on with this trace."""
        span = self._start("cross", request, _inside(_CURRENT.get()), "CLIENT")
        span.set_attribute("littoral.upstream", upstream)
        token = _OUTGOING.set(_injected(span))
        try:
            answer = await ask()
        except BaseException as error:
            _failed(span, error)
            raise
        finally:
            _OUTGOING.reset(token)
        _answered(span, answer)
        return answer

    async def close(self) -> None:
        """Sends what is left, for at most as long as the exporter's own time-out."""
        await asyncio.to_thread(self._provider.shutdown)

    def _within(self, name: str, begin: Begin, request: InferRequest, *, parent: Any, kind: str) -> Begun:
        span = self._start(name, request, parent, kind)
        token = _CURRENT.set(span)
        try:
            begun = begin(request)
        except BaseException as error:
            _failed(span, error)
            raise
        finally:
            _CURRENT.reset(token)
        if isinstance(begun, InferAnswer):
            _answered(span, begun)
        else:
            begun.add_done_callback(partial(_done, span))
        return begun

    def _start(self, name: str, request: InferRequest, parent: Any, kind: str) -> Span:
        from opentelemetry.trace import SpanKind

        attributes: dict[str, Any] = {"littoral.site": self._site, "littoral.model": request.model}
        if request.id:
            attributes["littoral.request"] = request.id[:200]
        if request.budget_ms is not None:
            attributes["littoral.budget_ms"] = request.budget_ms
        return self._tracer.start_span(
            f"{name} {request.model}"[:200], context=parent, kind=SpanKind[kind], attributes=attributes
        )


def _done(span: Span, future: asyncio.Future[InferAnswer]) -> None:
    error = asyncio.CancelledError() if future.cancelled() else future.exception()
    if error is None:
        _answered(span, future.result())
    else:
        _failed(span, error)


def _answered(span: Span, answer: InferAnswer) -> None:
    span.set_attribute("littoral.version", answer.version)
    for name in ("plan", "degraded", "reason", "queue_ms", "compute_ms", "hedged", "cached"):
        if name in answer.parameters:
            span.set_attribute(f"littoral.{name}", answer.parameters[name])
    if "site" in answer.parameters:
        span.set_attribute("littoral.answered_at", answer.parameters["site"])
    span.end()


def _failed(span: Span, error: BaseException) -> None:
    from opentelemetry.trace import StatusCode

    code = error.code if isinstance(error, LittoralError) else type(error).__name__
    span.set_attribute("littoral.code", code)
    span.set_status(StatusCode.ERROR, str(error)[:300])
    span.end()


def _inside(span: Span | None) -> Any:
    """The context of a span's children; an empty one begins a trace."""
    from opentelemetry.context import Context
    from opentelemetry.trace import set_span_in_context

    return Context() if span is None else set_span_in_context(span, Context())


def _extracted(traceparent: str) -> Any:
    from opentelemetry.context import Context
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    return TraceContextTextMapPropagator().extract({TRACEPARENT: traceparent} if traceparent else {}, Context())


def _injected(span: Span) -> str:
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    carrier: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carrier, _inside(span))
    return carrier.get(TRACEPARENT, "")


def _exporter(environment: Mapping[str, str]) -> Any:
    """What `OTEL_TRACES_EXPORTER` names: `otlp` (also where it says nothing), `console` or `none`."""
    wanted = environment.get("OTEL_TRACES_EXPORTER", "otlp").strip().lower()
    if wanted == "none":
        return None
    if wanted == "console":
        import sys

        from opentelemetry.sdk.trace.export import ConsoleSpanExporter

        return ConsoleSpanExporter(out=sys.stderr)
    if wanted != "otlp":
        raise Invalid("tracing_wrong", f"OTEL_TRACES_EXPORTER is {wanted[:40]!r}. Known are: otlp, console, none.")
    protocol = environment.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL") or environment.get("OTEL_EXPORTER_OTLP_PROTOCOL")
    try:
        if protocol == "grpc":
            from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as OverGrpc

            return OverGrpc()
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as OverHttp
    except ImportError as error:
        raise _missing(f"opentelemetry-exporter-otlp-proto-{'grpc' if protocol == 'grpc' else 'http'}") from error
    return OverHttp()


def _missing(package: str) -> Unavailable:
    return Unavailable("extra_missing", f"Tracing needs {package}, which is not installed. {_HINT}")
