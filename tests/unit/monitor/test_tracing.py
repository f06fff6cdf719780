"""Tracing is told by the standard environment variables, and says what is missing."""

from __future__ import annotations

import sys

import pytest

from littoral.core.errors import Invalid, Unavailable
from littoral.monitor.tracing import Tracing, outgoing

OVER_HTTP = "opentelemetry.exporter.otlp.proto.http.trace_exporter"
OVER_GRPC = "opentelemetry.exporter.otlp.proto.grpc.trace_exporter"


@pytest.mark.parametrize("missing", ["opentelemetry.sdk.trace", OVER_HTTP])
def test_what_is_not_installed_is_named_with_the_extra_that_brings_it(
    monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    # given a machine without the library
    monkeypatch.setitem(sys.modules, missing, None)

    # then tracing does not begin, and says what to run
    with pytest.raises(Unavailable, match=r"pip install 'littoral\[otel\]'") as refused:
        Tracing.from_environment("edge", {})
    assert refused.value.code == "extra_missing"


def test_the_protocol_that_is_asked_for_is_the_one_that_is_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, OVER_GRPC, None)
    with pytest.raises(Unavailable, match="otlp-proto-grpc"):
        Tracing.from_environment("edge", {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"})


def test_an_exporter_that_nobody_knows_is_refused_and_none_is_none() -> None:
    with pytest.raises(Invalid) as refused:
        Tracing.from_environment("edge", {"OTEL_TRACES_EXPORTER": "smoke"})
    assert refused.value.code == "tracing_wrong"
    Tracing.from_environment("edge", {"OTEL_TRACES_EXPORTER": "none"})


def test_where_nobody_traces_no_header_goes_out() -> None:
    assert outgoing() == ()
