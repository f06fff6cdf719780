"""The head of an HTTP request: its first line and headers, checked by llhttp and read once.

Clients on a kept connection send the same head over and over. What a head means follows from its bytes alone, so the
door keeps what it read of the last few hundred and looks them up by those bytes, which is three times as fast.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote

import httptools

from littoral.core.errors import Invalid
from littoral.serve.http_limits import HttpLimits

HEADS_KEPT_MAX: Final = 512
_KEPT_BYTES_MAX: Final = 2048
_ABSOLUTE = re.compile(rb"https?://[^/?#]*", re.IGNORECASE)
_DIGITS = re.compile(rb"[0-9]{1,12}")
_DECIMAL = re.compile(r"[0-9]{1,9}(?:\.[0-9]{1,9})?")


@dataclass(slots=True)
class Head:
    """What a request says before its body. `body_length` None: the body comes in chunks.

    `path` is split at its slashes, each piece percent-decoded by itself. `call` is what the door found there.
    """

    method: str
    path: tuple[str, ...]
    query: str
    body_length: int | None
    keep_alive: bool
    http_1_0: bool
    expects_continue: bool
    header_length: int | None
    content_type: str
    content_encoding: str
    accept_encoding: str
    deadline_ms: float | None
    key: str | None
    accepts_html: bool = False
    traceparent: str = ""
    call: Any = None


class HeadReader:
    """Reads heads, and remembers some."""

    def __init__(self, limits: HttpLimits) -> None:
        self._limits = limits
        self._kept: dict[bytes, Head] = {}

    def read(self, raw: bytes) -> Head:
        """The head in `raw`, which ends with its empty line.

        Raises `Invalid`: `http_malformed`, `head_too_large`, `target_too_long`, `header_wrong`, `path_malformed`.
        """
        head = self._kept.get(raw)
        if head is None:
            head = _read(raw, self._limits)
            if len(raw) <= _KEPT_BYTES_MAX and not head.traceparent:  # a trace's head never comes again
                if len(self._kept) >= HEADS_KEPT_MAX:
                    self._kept.clear()
                self._kept[raw] = head
        return head


class _Fields:
    """Takes llhttp's callbacks."""

    def __init__(self) -> None:
        self.target = b""
        self.by_name: dict[bytes, bytes] = {}
        self.count = 0
        self.complete = False

    def on_url(self, part: bytes) -> None:
        self.target += part

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        self.count += 1
        earlier = self.by_name.get(name)
        self.by_name[name] = value if earlier is None else earlier + b", " + value

    def on_headers_complete(self) -> None:
        self.complete = True


def _read(raw: bytes, limits: HttpLimits) -> Head:
    fields = _Fields()
    parser = httptools.HttpRequestParser(fields)
    try:
        parser.feed_data(raw)
    except httptools.HttpParserUpgrade:
        pass  # an offer to change the protocol may be ignored, and is
    except httptools.HttpParserError as error:
        raise Invalid("http_malformed", f"This is not HTTP/1.1: {error}.") from None
    version = parser.get_http_version() if fields.complete else ""
    if version not in ("1.1", "1.0"):
        raise Invalid("http_malformed", "This is not HTTP/1.1. Speak HTTP/1.1, or gRPC to the gRPC port.")
    if fields.count > limits.headers_count_max:
        raise Invalid("head_too_large", f"{fields.count} headers came; at most {limits.headers_count_max} are allowed.")
    if len(fields.target) > limits.target_bytes_max:
        raise Invalid("target_too_long", f"The URL is longer than {limits.target_bytes_max} bytes.")
    get = fields.by_name.get
    if version == "1.1" and b"host" not in fields.by_name:
        raise Invalid("http_malformed", "The header Host is missing.")
    path, query = _split_target(fields.target)
    return Head(
        method=parser.get_method().decode("ascii"),
        path=path,
        query=query,
        body_length=_body_length(get(b"transfer-encoding"), get(b"content-length")),
        keep_alive=_keeps_alive(version, get(b"connection", b"")),
        http_1_0=version == "1.0",
        expects_continue=get(b"expect", b"").lower() == b"100-continue",
        header_length=_header_length(get(b"inference-header-content-length")),
        content_type=_text(get(b"content-type")),
        content_encoding=_text(get(b"content-encoding")).lower(),
        accept_encoding=_text(get(b"accept-encoding")).lower(),
        deadline_ms=_deadline_ms(get(b"littoral-deadline-ms")),
        key=_key(get(b"authorization"), get(b"x-api-key")),
        accepts_html=b"text/html" in get(b"accept", b"").lower(),
        traceparent=_text(get(b"traceparent")),
    )


def _keeps_alive(version: str, connection: bytes) -> bool:
    """Whether the connection stays after the answer: in 1.1 unless it is to close, in 1.0 only if it is to stay."""
    words = [word.strip().lower() for word in connection.split(b",")]
    return b"close" not in words and (version == "1.1" or b"keep-alive" in words)


def _text(value: bytes | None) -> str:
    return "" if value is None else value.decode("latin-1").strip()


def _split_target(target: bytes) -> tuple[tuple[str, ...], str]:
    absolute = _ABSOLUTE.match(target)
    if absolute is not None:
        target = target[absolute.end() :] or b"/"
    raw_path, _, query = target.partition(b"?")
    pieces = raw_path.split(b"/")
    if pieces[0] or len(pieces) == 1:  # "*", or "host:port" of a CONNECT
        return (raw_path.decode("latin-1"),), ""
    if len(pieces) > 2 and not pieces[-1]:
        pieces.pop()  # /v2/ is /v2
    try:
        path = tuple([unquote(piece.decode("ascii"), errors="strict") for piece in pieces[1:]])
    except UnicodeDecodeError:
        raise Invalid("path_malformed", "The URL's path is not percent-encoded UTF-8.") from None
    return path, query.decode("latin-1")


def _body_length(transfer_encoding: bytes | None, content_length: bytes | None) -> int | None:
    """How long the body is; None for one in chunks. llhttp has already refused both at once and repeated ones."""
    if transfer_encoding is not None:
        if transfer_encoding.strip().lower() != b"chunked":
            raise Invalid("header_wrong", "The only Transfer-Encoding known here is chunked.")
        return None
    return 0 if content_length is None else int(content_length)


def _header_length(value: bytes | None) -> int | None:
    if value is None:
        return None
    if _DIGITS.fullmatch(value.strip()) is None:
        raise Invalid("header_length_wrong", "Inference-Header-Content-Length must be a whole number from 0.")
    return int(value)


def _deadline_ms(value: bytes | None) -> float | None:
    if value is None:
        return None
    text = value.decode("latin-1").strip()
    if _DECIMAL.fullmatch(text) is None:
        raise Invalid("parameter_wrong", "Littoral-Deadline-Ms must be a number of milliseconds from 0.")
    return float(text)


def _key(authorization: bytes | None, api_key: bytes | None) -> str | None:
    """The key in `Authorization: Bearer KEY` or `X-API-Key: KEY`."""
    if authorization is not None:
        scheme, _, key = _text(authorization).partition(" ")
        if scheme.lower() == "bearer":
            return key.strip()
    return None if api_key is None else _text(api_key)
