"""The only table from an error's kind to HTTP status, gRPC code and exit code."""

from __future__ import annotations

from dataclasses import dataclass

from littoral.core.errors import (
    Conflict,
    Corrupt,
    Denied,
    Expired,
    Invalid,
    LittoralError,
    NotFound,
    Overloaded,
    Unavailable,
)


@dataclass(frozen=True, slots=True)
class Status:
    """How one kind of error shows on each door; `grpc_code` is the number of `grpc_name`."""

    http: int
    grpc_name: str
    grpc_code: int
    exit_code: int


STATUSES: dict[type[LittoralError], Status] = {
    Invalid: Status(400, "INVALID_ARGUMENT", 3, 2),
    NotFound: Status(404, "NOT_FOUND", 5, 3),
    Conflict: Status(409, "ABORTED", 10, 4),
    Denied: Status(403, "PERMISSION_DENIED", 7, 5),
    Overloaded: Status(429, "RESOURCE_EXHAUSTED", 8, 6),
    Expired: Status(504, "DEADLINE_EXCEEDED", 4, 7),
    Unavailable: Status(503, "UNAVAILABLE", 14, 8),
    Corrupt: Status(500, "DATA_LOSS", 15, 9),
}

_ANONYMOUS = Status(401, "UNAUTHENTICATED", 16, 5)
_TOO_LARGE = Status(413, "RESOURCE_EXHAUSTED", 8, 2)


def status_of(error: LittoralError) -> Status:
    """The row for an error. Where nobody is named, 401 takes the place of 403; a body over the limit is a 413."""
    if error.context.get("anonymous") is True:
        return _ANONYMOUS
    if error.code == "body_too_large":
        return _TOO_LARGE
    return STATUSES[type(error)]
