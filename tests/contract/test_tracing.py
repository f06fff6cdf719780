"""One request, two real servers, one trace: each step's span has the right parent, over HTTP and over gRPC."""

from __future__ import annotations

import json
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar, Protocol
from urllib.request import Request, urlopen

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from contract.command import serving as process
from contract.escalation_stage import BIG, LITTLE, NO_AUDITS, picture_files, repository, write_cascade
from littoral.edge.serving import Server, serving
from littoral.monitor.tracing import Tracing

CALLER_TRACE, CALLER_SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TRACEPARENT = f"00-{CALLER_TRACE}-{CALLER_SPAN}-01"
WAIT_S_MAX = 30.0


class Addressed(Protocol):
    """A server, in this process or another."""

    @property
    def url(self) -> str: ...


def tracing(site: str) -> tuple[Tracing, InMemorySpanExporter]:
    kept = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(kept))
    return Tracing(provider, site=site), kept


@contextmanager
def cloud(folder: Path) -> Iterator[tuple[Server, InMemorySpanExporter]]:
    """A server with the big model."""
    made, kept = tracing("cloud")
    with serving(repository(folder, BIG), site="cloud", tracing=made, grace_s=0.5) as server:
        yield server, kept


def ask(server: Addressed, traceparent: str | None = TRACEPARENT) -> dict[str, object]:
    """One picture, by somebody who may be in a trace of their own."""
    headers = {"Content-Type": "image/jpeg", "Littoral-Deadline-Ms": "5000"}
    if traceparent is not None:
        headers["traceparent"] = traceparent
    asked = Request(f"{server.url}/v2/models/{LITTLE}/predict", picture_files()[0].read_bytes(), headers)
    with urlopen(asked) as reply:
        told: dict[str, object] = json.load(reply)
    return told


def crossing(server: Server, here: InMemorySpanExporter, there: InMemorySpanExporter) -> dict[str, ReadableSpan]:
    """The spans of one request that went to the cloud, by site and step; asked until one did."""
    until_s = time.monotonic() + WAIT_S_MAX
    while time.monotonic() < until_s:
        here.clear()
        there.clear()
        told = ask(server)
        if told["site"] == "cloud":
            return {
                f"{site} {span.name.partition(' ')[0]}": span
                for site, kept in (("edge", here), ("cloud", there))
                for span in kept.get_finished_spans()
            }
    raise AssertionError("no request went to the cloud")


@pytest.mark.parametrize("wire", ["http", "grpc"])
def test_one_trace_follows_a_request_from_its_caller_over_two_sites(tmp_path: Path, wire: str) -> None:
    # given an edge whose little model doubts everything, and a cloud with the big one, both traced
    models = repository(tmp_path / "edge", LITTLE)
    write_cascade(models / LITTLE, doubtful=1.0)
    made, here = tracing("edge")
    with cloud(tmp_path / "cloud") as (far, there):
        upstream = far.url if wire == "http" else far.grpc_url
        with serving(models, upstreams=(upstream,), bounds=NO_AUDITS, site="edge", tracing=made) as near:
            # when a caller within a trace asks
            spans = crossing(near, here, there)

    # then all spans are of the caller's trace
    assert {format(one.get_span_context().trace_id, "032x") for one in spans.values()} == {CALLER_TRACE}

    # and each step hangs where it belongs, the first at the caller's own span
    parents = {name: format(one.parent.span_id, "016x") for name, one in spans.items() if one.parent is not None}
    ids = {name: format(one.get_span_context().span_id, "016x") for name, one in spans.items()}
    assert parents["edge door"] == CALLER_SPAN
    assert parents["edge place"] == ids["edge door"]
    assert parents["edge cross"] == ids["edge place"]
    assert parents["cloud door"] == ids["edge cross"]
    assert parents["cloud run"] == ids["cloud door"]

    # and it says which model, which plan, where, and whether that was what was wanted
    door = spans["edge door"].attributes or {}
    assert (door["littoral.model"], door["littoral.site"], door["littoral.answered_at"]) == (LITTLE, "edge", "cloud")
    assert door["littoral.plan"] in ("cascade", "offload")
    assert door["littoral.degraded"] is False
    assert (spans["cloud run"].attributes or {})["littoral.model"] == BIG


def test_a_degraded_answer_says_so_in_its_trace_and_a_broken_traceparent_begins_a_new_one(tmp_path: Path) -> None:
    # given an edge that doubts everything and whose upstream goes away
    models = repository(tmp_path / "edge", LITTLE)
    write_cascade(models / LITTLE, doubtful=1.0)
    made, here = tracing("edge")
    with cloud(tmp_path / "cloud") as (far, there):
        stopping = serving(models, upstreams=(far.url,), bounds=NO_AUDITS, site="edge", tracing=made)
        near = stopping.__enter__()
        crossing(near, here, there)
    try:
        # when it is asked all the same, by somebody whose traceparent is none
        here.clear()
        told = ask(near, traceparent="00-nonsense-01")
        (door,) = (span for span in here.get_finished_spans() if span.name.startswith("door"))
    finally:
        stopping.__exit__(None, None, None)

    # then the span says what the answer says, and belongs to a trace of its own
    assert told["degraded"] is True
    attributes = door.attributes or {}
    assert (attributes["littoral.degraded"], attributes["littoral.reason"]) == (True, told["reason"])
    assert door.parent is None
    assert format(door.get_span_context().trace_id, "032x") != CALLER_TRACE


def test_a_server_that_does_not_trace_answers_a_caller_who_does(tmp_path: Path) -> None:
    shutil.copytree(repository(tmp_path / "a", LITTLE), tmp_path / "b")
    with serving(tmp_path / "b", site="edge") as server:
        assert ask(server)["site"] == "edge"


def test_a_refused_request_ends_its_span_with_the_errors_code(tmp_path: Path) -> None:
    # given a traced server
    made, kept = tracing("edge")
    with serving(repository(tmp_path / "m", LITTLE), site="edge", tracing=made) as server:
        # when what comes is no picture
        asked = Request(f"{server.url}/v2/models/{LITTLE}/predict", b"rubbish", {"Content-Type": "image/jpeg"})
        with pytest.raises(Exception, match="400"):
            urlopen(asked)
        spans = kept.get_finished_spans()

    # then door and run both say why
    assert [(span.attributes or {}).get("littoral.code") for span in spans] == ["image_unreadable"] * 2


class Collector(BaseHTTPRequestHandler):
    """Takes traces by OTLP over HTTP, as any collector does, and keeps what it can read."""

    came: ClassVar[list[ExportTraceServiceRequest]] = []

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        assert self.path == "/v1/traces"
        assert self.headers["Content-Type"] == "application/x-protobuf"
        self.came.append(ExportTraceServiceRequest.FromString(body))
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *arguments: object) -> None:
        """Keeps the tests' output quiet."""


def test_a_process_sends_its_spans_to_the_collector_that_the_environment_names_before_it_ends() -> None:
    # given a collector, and a server that was told of it by OpenTelemetry's own variable
    with ThreadingHTTPServer(("127.0.0.1", 0), Collector) as collector:
        threading.Thread(target=collector.serve_forever, daemon=True).start()
        endpoint = f"http://127.0.0.1:{collector.server_port}"
        with process("--trace", "--site", "edge-7", OTEL_EXPORTER_OTLP_ENDPOINT=endpoint) as server:
            # when it answers somebody who is in a trace, and stops
            ask(server)
            assert server.stop() == 0
        collector.shutdown()

    # then the collector has each step, of that trace, and says whose they are
    (resource,) = (spans for came in Collector.came for spans in came.resource_spans)
    facts = {fact.key: fact.value.string_value for fact in resource.resource.attributes}
    spans = {span.name.partition(" ")[0]: span for scope in resource.scope_spans for span in scope.spans}
    assert (facts["service.name"], facts["service.instance.id"]) == ("littoral", "edge-7")
    assert {"door", "run"} <= spans.keys()
    assert {span.trace_id.hex() for span in spans.values()} == {CALLER_TRACE}
    assert spans["door"].parent_span_id.hex() == CALLER_SPAN
