"""One route of the hub's API: a row of the table that the router, the door's checks and the OpenAPI document share."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from starlette.responses import Response

from littoral.hub.asked import Asked

JSON_BYTES_MAX = 1 << 20

ANYONE, SOMEBODY = "anyone", "somebody"
"""What is needed of who asks beside permissions: nothing at all, or to be known."""

_ENCODER = msgspec.json.Encoder()
JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Verb:
    """`needs` are permissions of `littoral.identity.roles`, of which one suffices.

    `takes` is the body's structure (None: no body, or one that `answer` reads itself, of the type `media`).

    `gives` is the answer's structure, `query` the parameters' behind `?`.
    """

    method: str
    path: str
    needs: Sequence[str]
    answer: Callable[[Asked], Awaitable[Response]]
    summary: str
    takes: type[msgspec.Struct] | None = None
    gives: Any = None
    query: type[msgspec.Struct] | None = None
    media: str = ""
    status: int = 200
    bytes_max: int = JSON_BYTES_MAX


class Strict(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """What callers send: a field that nobody knows is an error, not a wish that goes unheard."""


class NoQuery(Strict, frozen=True):
    """No parameters at all."""


def answer(value: Any, *, status: int = 200) -> Response:
    """A value as JSON."""
    return Response(_ENCODER.encode(value), status, media_type=JSON)


def nothing() -> Response:
    """Done, and nothing to say."""
    return Response(status_code=204)
