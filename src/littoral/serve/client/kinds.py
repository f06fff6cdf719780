"""From a status on the wire back to the kind of error it stands for."""

from __future__ import annotations

from littoral.core.errors import Corrupt, Invalid, LittoralError, Plain, Unavailable
from littoral.serve.statuses import STATUSES

_OF_HTTP: dict[int, type[LittoralError]] = {status.http: kind for kind, status in STATUSES.items()}
_OF_GRPC: dict[int, type[LittoralError]] = {status.grpc_code: kind for kind, status in STATUSES.items()}
_HTTP_ANONYMOUS = 401
_HTTP_TOO_MANY = 429
_GRPC_ANONYMOUS = 16


def error_of_http(status: int, code: str, message: str, context: dict[str, Plain]) -> LittoralError:
    """The error for an HTTP status of 400 or more.

    What is not in our table comes from a proxy or another server: from 500 on something is away, below it the request
    is wrong. A body over the limit (413) is the caller's to mend.
    """
    if status == _HTTP_ANONYMOUS:
        return _OF_HTTP[403](code, message, **{**context, "anonymous": True})
    if status == 500 and not code:
        return Corrupt("server_failed", message, **context)
    kind = _OF_HTTP.get(status) or (Unavailable if status >= 500 else Invalid)
    return kind(code or "answer_refused", message, **context)


def error_of_grpc(number: int, code: str, message: str, context: dict[str, Plain]) -> LittoralError:
    """The error for a gRPC code other than 0."""
    if number == _GRPC_ANONYMOUS:
        return _OF_HTTP[403](code or "answer_refused", message, **{**context, "anonymous": True})
    if code == "body_too_large":  # RESOURCE_EXHAUSTED on the wire, yet waiting does not help
        return Invalid(code, message, **context)
    # What our servers never say: CANCELLED (1), UNKNOWN (2), INTERNAL (13), UNIMPLEMENTED (12), OUT_OF_RANGE (11), …
    kind = _OF_GRPC.get(number) or (Invalid if number in (6, 9, 11, 12) else Unavailable)
    return kind(code or "answer_refused", message, **context)
