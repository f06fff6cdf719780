"""What gRPC says in HTTP/2's headers: how a call begins, and with which status it ends."""

from __future__ import annotations

import re
from dataclasses import dataclass

from littoral.core.errors import LittoralError
from littoral.serve.h2_hpack import Fields
from littoral.serve.statuses import status_of

MESSAGE_LENGTH_MAX = 1024
"""Characters of an error's message that are sent; a proxy may drop larger headers."""

INVALID_ARGUMENT, UNIMPLEMENTED, INTERNAL, UNAVAILABLE = 3, 12, 13, 14

ENCODINGS = ("identity", "gzip", "deflate")

_TIMEOUT = re.compile(rb"([0-9]{1,8})([HMSmun])")
_UNITS_MS = {b"H": 3_600_000.0, b"M": 60_000.0, b"S": 1000.0, b"m": 1.0, b"u": 1e-3, b"n": 1e-6}
_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]+")
_VALUE_BROKEN = re.compile(rb"[\x00\r\n]")
_HOP_FIELDS = frozenset((b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"))
_PSEUDO = frozenset((b":method", b":scheme", b":path", b":authority"))


@dataclass(frozen=True, slots=True)
class CallHead:
    """How a call begins.

    `budget_ms` is the time its caller gives it. `key` is what opens the door, if the caller sent one. `refusal` is the
    header block that answers a request which is no gRPC call, or one whose headers make no sense.
    """

    path: str
    budget_ms: float | None = None
    encoding: str = "identity"
    key: str | None = None
    refusal: bytes | None = None
    traceparent: str = ""


def read_head(fields: Fields) -> CallHead | None:
    """The call that these fields begin; None where HTTP/2 calls them malformed."""
    pseudo: dict[bytes, bytes] = {}
    known: dict[bytes, bytes] = {}
    for name, value in fields:
        if name.startswith(b":"):
            if known or name in pseudo or name not in _PSEUDO:
                return None
            pseudo[name] = value
        elif not _NAME.fullmatch(name) or name in _HOP_FIELDS or (name == b"te" and value != b"trailers"):
            return None
        else:
            known[name] = value
        if _VALUE_BROKEN.search(value):
            return None
    if not pseudo.get(b":path") or b":method" not in pseudo or b":scheme" not in pseudo:
        return None
    path = pseudo[b":path"].decode("latin-1")
    content_type = known.get(b"content-type", b"")
    if pseudo[b":method"] != b"POST":
        return CallHead(path, refusal=_http_status(b"405"))
    if not re.fullmatch(rb"application/grpc(\+proto)?(;.*)?", content_type):
        return CallHead(path, refusal=_http_status(b"415"))
    encoding = known.get(b"grpc-encoding", b"identity").decode("latin-1")
    if encoding not in ENCODINGS:
        text = f"Message encoding {encoding[:40]!r} is not supported. Use one of: {', '.join(ENCODINGS)}."
        accepted = field(b"grpc-accept-encoding", ",".join(ENCODINGS).encode())
        return CallHead(path, refusal=HEAD + accepted + trailers(UNIMPLEMENTED, text))
    budget_ms: float | None = None
    if b"grpc-timeout" in known:
        matched = _TIMEOUT.fullmatch(known[b"grpc-timeout"])
        if matched is None:
            refusal = HEAD + trailers(INVALID_ARGUMENT, "grpc-timeout must be up to eight digits and a unit.")
            return CallHead(path, refusal=refusal)
        budget_ms = int(matched[1]) * _UNITS_MS[matched[2]]
    key = _key(known.get(b"authorization"), known.get(b"x-api-key"))
    return CallHead(path, budget_ms, encoding, key, traceparent=known.get(b"traceparent", b"").decode("latin-1"))


def _key(authorization: bytes | None, api_key: bytes | None) -> str | None:
    """The key in `authorization: Bearer KEY` or `x-api-key: KEY`, as at the HTTP door."""
    if authorization is not None:
        scheme, _, key = authorization.decode("latin-1").strip().partition(" ")
        if scheme.lower() == "bearer":
            return key.strip()
    return None if api_key is None else api_key.decode("latin-1").strip()


def trailers(code: int, message: str = "", *fields: tuple[bytes, bytes]) -> bytes:
    """The header block that ends a call."""
    block = field(b"grpc-status", b"%d" % code)
    if message:
        block += field(b"grpc-message", _percent_encoded(message[:MESSAGE_LENGTH_MAX]))
    return block + b"".join(field(name, value) for name, value in fields)


def error_trailers(error: LittoralError) -> bytes:
    """The header block that ends a call with an error: its status, its message, its code and when to try again."""
    more = [(b"littoral-code", error.code.encode())]
    retry_after_ms = error.context.get("retry_after_ms")
    if isinstance(retry_after_ms, int | float):
        # gRPC's own name for it: a client with a retry policy waits exactly that long.
        more.append((b"grpc-retry-pushback-ms", b"%d" % max(0, round(retry_after_ms))))
    return trailers(status_of(error).grpc_code, error.message, *more)


def field(name: bytes, value: bytes) -> bytes:
    """One header field as HPACK's literal without indexing."""
    return b"\x00" + _length(len(name)) + name + _length(len(value)) + value


def _length(length: int) -> bytes:
    """HPACK's integer with a seven-bit prefix, no Huffman coding."""
    if length < 0x7F:
        return bytes((length,))
    made = bytearray((0x7F,))
    length -= 0x7F
    while length >= 0x80:
        made.append(length & 0x7F | 0x80)
        length >>= 7
    made.append(length)
    return bytes(made)


def _percent_encoded(text: str) -> bytes:
    return b"".join(
        bytes((byte,)) if 0x20 <= byte <= 0x7E and byte != 0x25 else b"%%%02X" % byte
        for byte in text.encode("utf-8", "replace")
    )


def _http_status(status: bytes) -> bytes:
    return b"\x08" + _length(len(status)) + status  # name 8 of HPACK's static table is `:status`


HEAD = b"\x88" + field(b"content-type", b"application/grpc")  # 0x88 is `:status: 200`
TRAILERS_OK = trailers(0)
