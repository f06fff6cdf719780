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

# Codes for which HTTP has a narrower word than their kind's.
_BY_CODE: dict[str, Status] = {
    "body_too_large": Status(413, "RESOURCE_EXHAUSTED", 8, 2),
    "coding_unknown": Status(415, "INVALID_ARGUMENT", 3, 2),
    "head_too_large": Status(431, "INVALID_ARGUMENT", 3, 2),
    "method_wrong": Status(405, "UNIMPLEMENTED", 12, 2),
    "request_too_slow": Status(408, "DEADLINE_EXCEEDED", 4, 2),
    "target_too_long": Status(414, "INVALID_ARGUMENT", 3, 2),
}


def status_of(error: LittoralError) -> Status:
    """The row for an error. Where nobody is named, 401 takes the place of 403; a few codes have their own row."""
    if error.context.get("anonymous") is True:
        return _ANONYMOUS
    return _BY_CODE.get(error.code) or STATUSES[type(error)]
