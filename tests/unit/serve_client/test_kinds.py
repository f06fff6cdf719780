"""An error that crossed a wire is the kind it was on the other side."""

from __future__ import annotations

import pytest

from littoral.core.errors import KINDS, Denied, Invalid, LittoralError, Unavailable
from littoral.serve.client.kinds import error_of_grpc, error_of_http
from littoral.serve.statuses import STATUSES, status_of


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_survives_both_wires(kind: type[LittoralError]) -> None:
    status = STATUSES[kind]

    over_http = error_of_http(status.http, "some_code", "Words.", {"retry_after_ms": 5})
    over_grpc = error_of_grpc(status.grpc_code, "some_code", "Words.", {"retry_after_ms": 5})

    for error in (over_http, over_grpc):
        assert type(error) is kind
        assert (error.code, error.message, error.context) == ("some_code", "Words.", {"retry_after_ms": 5})


def test_a_caller_without_a_name_and_a_body_too_large_keep_their_meaning() -> None:
    anonymous = Denied("key_missing", "Who?", anonymous=True)
    too_large = Invalid("body_too_large", "Too large.")

    for error in (anonymous, too_large):
        status = status_of(error)
        for back in (
            error_of_http(status.http, error.code, error.message, {}),
            error_of_grpc(status.grpc_code, error.code, error.message, {}),
        ):
            assert type(back) is type(error)
            assert status_of(back) == status


@pytest.mark.parametrize(("status", "kind"), [(502, Unavailable), (418, Invalid), (405, Invalid)])
def test_a_status_that_is_none_of_ours_is_the_callers_fault_below_500_and_nobodys_from_there_on(
    status: int, kind: type[LittoralError]
) -> None:
    assert type(error_of_http(status, "", "?", {})) is kind
