"""What the HTTP door answers: a status, a body in parts, and how errors look."""

from __future__ import annotations

import asyncio
import math
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final

import msgspec

from littoral.core.errors import LittoralError
from littoral.net.frame import Buffer
from littoral.serve.statuses import status_of

JSON: Final = b"application/json"
BINARY: Final = b"application/octet-stream"
TEXT: Final = b"text/plain; charset=utf-8"

COMPRESS_BYTES_MIN: Final = 1400
"""Below this, about one packet, compression saves nothing."""

_SAMPLE_BYTES: Final = 4096
_encode = msgspec.json.Encoder().encode

PHRASES: Final = {status.value: status.phrase.encode() for status in HTTPStatus}


@dataclass(slots=True)
class Reply:
    """One answer; `headers` are whole header lines, each with its line end."""

    status: int
    parts: list[Buffer] = field(default_factory=list)
    content_type: bytes = JSON
    headers: bytes = b""

    @property
    def size(self) -> int:
        """Bytes of the body."""
        return sum(map(len, self.parts))


@dataclass(slots=True)
class Pending:
    """An answer still being made: `finish` makes it of the future's result. `cancel`: nobody else needs it."""

    future: asyncio.Future[Any]
    finish: Callable[[Any], Reply | Pending]
    cancel: bool = True


def json_reply(value: Any, *, status: int = 200) -> Reply:
    """A plain value as JSON."""
    return Reply(status, [_encode(value)])


def error_reply(error: LittoralError) -> Reply:
    """An error as every route answers it: the protocol's `error`, our `code`, and the context beside them."""
    status = status_of(error).http
    context = {name: value for name, value in error.context.items() if name not in ("error", "code", "anonymous")}
    headers = b""
    retry_after_ms = context.get("retry_after_ms")
    if isinstance(retry_after_ms, int | float) and math.isfinite(retry_after_ms):
        headers += b"Retry-After: %d\r\n" % max(1, math.ceil(retry_after_ms / 1000))
    if status == HTTPStatus.UNAUTHORIZED:
        headers += b"WWW-Authenticate: Bearer\r\n"
    if error.code == "method_wrong":
        headers += b"Allow: %b\r\n" % str(context.get("allow", "")).encode()
    return Reply(status, [_encode({"error": error.message, "code": error.code, **context})], JSON, headers)


def fault_reply() -> Reply:
    """The answer where we made a mistake; the log has the rest."""
    return Reply(500, [_encode({"error": "The server failed; its log says why.", "code": "internal"})])


def wanted_coding(accept_encoding: str) -> str:
    """`gzip`, `deflate` or "": the best that the caller's Accept-Encoding allows."""
    best, best_weight = "", 0.0
    for entry in accept_encoding.split(","):
        name, _, rest = entry.strip().partition(";")
        weight = 1.0
        if rest:
            try:
                weight = float(rest.strip().removeprefix("q="))
            except ValueError:
                continue
        name = name.strip()
        better = weight > best_weight or (weight == best_weight > 0 and name == "gzip")
        if name in ("gzip", "deflate") and better:
            best, best_weight = name, weight
    return best


def compress(reply: Reply, coding: str) -> Reply:
    """The reply compressed with the fastest setting, or as it was where a sample of it does not shrink by a tenth."""
    body = b"".join(reply.parts)
    sample = body[len(body) // 2 :][:_SAMPLE_BYTES]
    if len(zlib.compress(sample, 1)) > 0.9 * len(sample):
        return reply
    stream = zlib.compressobj(1, zlib.DEFLATED, 31 if coding == "gzip" else 15)
    compressed = stream.compress(body) + stream.flush()
    headers = reply.headers + b"Content-Encoding: %b\r\nVary: Accept-Encoding\r\n" % coding.encode()
    return Reply(reply.status, [compressed], reply.content_type, headers)
