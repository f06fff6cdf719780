"""The hub's document at `/openapi.json`, tried out by schemathesis: what it promises is what the hub does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from contract.hub_stage import Stage, running
from littoral.hub.founding import ADMIN_TOKEN
from littoral.hub.own_identity import CA_FILE

schemathesis = pytest.importorskip("schemathesis")
from hypothesis import HealthCheck, Phase, given, settings  # noqa: E402
from schemathesis.specs.openapi import checks  # noqa: E402

EXAMPLES_MAX = 5
# Not among them: that what fits the schema is accepted (a name may be taken, a digest unknown).
CHECKS = [
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
]
# The admin would log out, and then everybody is refused; what is live is a stream that goes on for ever.
LEFT_OUT = ("logout", "/live")


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with running(tmp_path_factory.mktemp("hub")) as made:
        yield made


def _operations(stage: Stage) -> list[Any]:
    document = stage.admin.get("/openapi.json").raise_for_status().json()
    found = [one.ok() for one in schemathesis.openapi.from_dict(document).get_all_operations()]
    return [one for one in found if not one.path.endswith(LEFT_OUT) and _takes_json(one)]


def _takes_json(operation: Any) -> bool:
    """Batches, uploads and model files have contract tests of their own: no generator makes one that is read."""
    return set(operation.definition.raw.get("requestBody", {}).get("content", {})) <= {"application/json"}


def test_the_hub_does_what_its_document_says(stage: Stage) -> None:
    # given the hub's document, and its admin
    token = (stage.folder / ADMIN_TOKEN).read_text().strip()
    operations = _operations(stage)
    assert len(operations) > 30

    # when each of its operations is tried with what the document allows
    for operation in operations:
        _try_out(stage, operation, token)

    # then the hub is as well as before
    assert stage.admin.get("/v1/sites").status_code == 200


def _try_out(stage: Stage, operation: Any, token: str) -> None:
    @settings(
        max_examples=EXAMPLES_MAX,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.explicit, Phase.generate],
        database=None,
        derandomize=True,
    )
    @given(case=operation.as_strategy())
    def try_out(case: Any) -> None:
        if case.query and "follow" in case.query:  # a stream that goes on for ever
            case.query["follow"] = "false"
        headers = {"Authorization": f"Bearer {token}"}
        response = case.call(base_url=stage.url, timeout=20, verify=str(Path(stage.folder) / CA_FILE), headers=headers)
        assert response.status_code < 500 or response.status_code == 503, (operation.label, response.text)
        case.validate_response(response, checks=CHECKS)

    try_out()
