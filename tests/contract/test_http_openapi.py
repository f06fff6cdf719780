"""The document at `/openapi.json`, tried out by schemathesis: what it promises is what the server does."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from contract.http_stage import Stage, arithmetic, same, serving
from littoral.model import builtin
from littoral.serve.http_limits import HttpLimits
from littoral.serve.openapi import openapi

schemathesis = pytest.importorskip("schemathesis")
from hypothesis import HealthCheck, Phase, given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from schemathesis.specs.openapi import checks  # noqa: E402

EXAMPLES_MAX = 15
# Not among them: that what fits the schema is accepted (no schema can say which bytes are a picture, or what shape a
# model takes), and that an unknown field is refused (the protocol wants it ignored).
CHECKS = [
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
    checks.allow_header_conformance,
    checks.unsupported_method,
]
OPERATIONS = {
    operation.label: operation
    for operation in (found.ok() for found in schemathesis.openapi.from_dict(openapi("9.9")).get_all_operations())
    if not operation.path.endswith("load")
}
NAMES = ("same_fp32", "arithmetic", "surface-little")


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with serving(same("FP32"), arithmetic, paths=(builtin.path(),), limits=HttpLimits(request_s_max=5.0)) as running:
        yield running


@pytest.fixture(scope="module")
def document(stage: Stage) -> Any:
    with stage.peer() as peer:
        return peer.ask("GET", "/openapi.json").json


def test_every_route_is_described(stage: Stage, document: Any) -> None:
    """A path of the document is served, and its method is not refused."""
    for path, item in document["paths"].items():
        target = path.replace("{model}", "same_fp32").replace("{version}", "1")
        for method in item.keys() - {"parameters"}:
            if target.endswith("load"):
                continue
            with stage.peer() as peer:
                answer = peer.ask(method.upper(), target, b"" if method == "post" else None)
            if answer.status == 404 and answer.json["code"] == "corrections_missing":
                continue  # there is no upstream on this stage
            assert answer.status in (200, 400), (method, path, answer.body)
            assert answer.status == 200 or answer.json["code"] in ("json_malformed", "image_missing")


def test_every_reference_in_the_document_leads_somewhere(document: Any) -> None:
    references = set(re.findall(r"'#/components/schemas/(\w+)'", str(document)))

    assert references <= set(document["components"]["schemas"])
    assert document["openapi"].startswith("3.1")


@pytest.mark.parametrize("label", sorted(OPERATIONS))
def test_the_server_does_what_its_document_says(stage: Stage, label: str) -> None:
    @settings(
        max_examples=EXAMPLES_MAX,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.explicit, Phase.generate],
        database=None,
    )
    @given(case=OPERATIONS[label].as_strategy(), chance=st.integers(0, 3))
    def try_out(case: Any, chance: int) -> None:
        if case.path_parameters and chance:  # mostly models that are there, to reach more than the first refusal
            case.path_parameters["model"] = NAMES[chance - 1]
        response = case.call(base_url=stage.url, timeout=20)
        assert response.status_code < 500 or response.status_code == 504  # a deadline of 0 ms is one that has passed
        case.validate_response(response, checks=CHECKS)

    try_out()


def test_the_server_answers_after_all_that(stage: Stage) -> None:
    assert stage.still_answers()
