"""The hub over HTTP/1.1, from a site's side: each verb bounded in time and size, every failure one of our errors.

Connections only go outward. The TLS context is handed in; a certificate renewed on it serves the next connection, and
`renew` lets the open ones end when they are no longer in use.
"""

from __future__ import annotations

import asyncio
import base64
import re
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from urllib.parse import quote, urljoin, urlsplit

import httpx
import msgspec

from littoral.core.desired import Desired
from littoral.core.errors import (
    Conflict,
    Corrupt,
    Denied,
    Expired,
    Invalid,
    LittoralError,
    NotFound,
    Overloaded,
    Plain,
    Unavailable,
)
from littoral.core.version import VERSION
from littoral.net.batch import CONTENT_TYPE
from littoral.net.desired import DESIRED_BYTES_MAX, decode_desired
from littoral.net.receiving import RECEIPT_BYTES_MAX, Receipt, decode_receipt
from littoral.net.resume import Incoming

PIECE_BYTES = 64 * 2**10  # a write's time-out counts for one piece, so that a slow link is no dead one
ANSWER_BYTES_MAX = 4 * 2**20
TUS = {"Tus-Resumable": "1.0.0"}
_KINDS: Mapping[int, type[LittoralError]] = {
    400: Invalid,
    401: Denied,
    403: Denied,
    404: NotFound,
    409: Conflict,
    410: NotFound,
    412: Invalid,
    413: Invalid,
    414: Invalid,
    415: Invalid,
    416: Invalid,
    422: Invalid,
    429: Overloaded,
    431: Invalid,
    500: Corrupt,
    504: Expired,
}
_CODE = re.compile(r"[a-z][a-z0-9_]{0,63}")
_RANGE = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18})")


@dataclass(frozen=True, slots=True)
class HttpTimes:
    """How long to wait: for a connection, for the next bytes either way, and for a whole answer beside its bytes at the
    slowest rate that is still believed in.
    """

    connect_s: float = 10.0
    silence_s: float = 30.0
    answer_s: float = 60.0
    bytes_per_s_min: float = 1000.0


class _Refusal(msgspec.Struct):
    """What our servers say with an error."""

    error: str = ""
    code: str = ""
    retry_after_ms: float = 0.0
    offset: int | None = None


class HubHttp:
    """One site's connections to its hub; used from one event loop, until `close`."""

    def __init__(
        self, url: str, *, tls: ssl.SSLContext | None, proxy: str | None = None, times: HttpTimes | None = None
    ) -> None:
        """`tls` may be None only for `http://` addresses, as tests have. `Invalid` (`address_wrong`)."""
        parts = urlsplit(url)
        if parts.scheme != ("http" if tls is None else "https") or not parts.hostname or parts.path not in ("", "/"):
            raise Invalid("address_wrong", f"{url[:80]!r} is no hub's address. Write https://HOST:PORT.")
        self._base = f"{parts.scheme}://{parts.netloc}"
        self._tls, self._proxy = tls, proxy
        self._times = times if times is not None else HttpTimes()
        self._client = self._new()
        self._uses: dict[httpx.AsyncClient, int] = {}

    async def send(self, packed: bytes) -> Receipt:
        """A batch of events. It has keys, so one that broke off on a stale connection is sent again at once, once."""
        headers = {"Content-Type": CONTENT_TYPE}
        try:
            answer = await self.ask("POST", "/v1/events", packed, headers=headers, bytes_max=RECEIPT_BYTES_MAX)
        except Unavailable as error:
            if error.code != "connection_lost":
                raise
            answer = await self.ask("POST", "/v1/events", packed, headers=headers, bytes_max=RECEIPT_BYTES_MAX)
        return decode_receipt(answer)

    async def ask_desired(self, after: int, wait_s: float) -> Desired | None:
        """What is desired, as soon as it differs from version `after`; None if it did not within `wait_s`."""
        path = f"/v1/desired?after={after}&wait_s={wait_s:g}"
        answer = await self.ask("GET", path, more_s=wait_s, bytes_max=DESIRED_BYTES_MAX)
        return decode_desired(answer) if answer else None

    async def report(self, document: bytes) -> None:
        """What the site is like now, as JSON."""
        await self.ask("PUT", "/v1/reported", document, headers={"Content-Type": "application/json"})

    async def ask(
        self,
        method: str,
        path: str,
        content: bytes | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        more_s: float = 0.0,
        bytes_max: int = ANSWER_BYTES_MAX,
    ) -> bytes:
        """Any verb's answer. `more_s`: how long the hub may think about it beyond the usual."""
        async with self._exchange(method, path, content, headers or {}, more_s) as response:
            return await _read(response, bytes_max)

    @asynccontextmanager
    async def blob(self, digest: str, offset: int) -> AsyncIterator[Incoming]:
        """A blob's bytes from `offset` on, or from where the hub would have it."""
        headers = {"Range": f"bytes={offset}-", "If-Range": f'"{digest}"'} if offset else {}
        path = f"/v1/blobs/{quote(digest)}"
        async with self._exchange("GET", path, None, headers, 0.0, whole=False) as response:
            begins, size = _extent(response, offset)
            yield Incoming(begins, size, response.aiter_raw(PIECE_BYTES))

    async def blob_size(self, digest: str) -> int | None:
        """How long a blob is that the hub has; None where it has none."""
        try:
            async with self.blob(digest, 0) as incoming:
                return incoming.size
        except NotFound:
            return None

    async def begin_upload(self, digest: str, size_bytes: int) -> str:
        """Says what will come (tus 1.0, creation); where to send it."""
        named = base64.b64encode(digest.encode()).decode()
        headers = {**TUS, "Upload-Length": str(size_bytes), "Upload-Metadata": f"digest {named}"}
        async with self._exchange("POST", "/v1/uploads", b"", headers, 0.0) as response:
            await _read(response, ANSWER_BYTES_MAX)
            place = urlsplit(urljoin(self._base + "/v1/uploads", response.headers.get("location", "")))
        if f"{place.scheme}://{place.netloc}" != self._base or not place.path.startswith("/v1/uploads/"):
            raise Unavailable("answer_unreadable", "A hub named no place of its own for an upload.")
        return str(place.path)

    async def upload_offset(self, place: str) -> int:
        """How much of an upload is there."""
        async with self._exchange("HEAD", place, None, TUS, 0.0) as response:
            return _offset(response)

    async def upload(self, place: str, offset: int, piece: bytes) -> int:
        """The next piece; how much is there then."""
        headers = {**TUS, "Upload-Offset": str(offset), "Content-Type": "application/offset+octet-stream"}
        async with self._exchange("PATCH", place, piece, headers, 0.0) as response:
            await _read(response, ANSWER_BYTES_MAX)
            return _offset(response)

    async def renew(self) -> None:
        """Makes the next exchange open a new connection, with the certificate that the context has by then."""
        old, self._client = self._client, self._new()
        if not self._uses.get(old):
            await old.aclose()

    async def close(self) -> None:
        """Ends every connection."""
        for client in {self._client, *self._uses}:
            await client.aclose()

    def _new(self) -> httpx.AsyncClient:
        times = self._times
        return httpx.AsyncClient(
            base_url=self._base,
            verify=self._tls if self._tls is not None else False,
            http2=False,
            timeout=httpx.Timeout(times.silence_s, connect=times.connect_s),
            limits=httpx.Limits(max_connections=32, max_keepalive_connections=8, keepalive_expiry=60.0),
            proxy=self._proxy,
            trust_env=False,
            follow_redirects=False,
            headers={"User-Agent": f"littoral/{VERSION}", "Accept-Encoding": "identity"},
        )

    @asynccontextmanager
    async def _exchange(
        self,
        method: str,
        path: str,
        content: bytes | None,
        headers: Mapping[str, str],
        more_s: float,
        *,
        whole: bool = True,
    ) -> AsyncIterator[httpx.Response]:
        """One request and its good answer; anything else is raised. `whole`: all of it within a time."""
        times, client = self._times, self._client
        size = len(content or b"")
        timeout = httpx.Timeout(times.silence_s, connect=times.connect_s, read=times.silence_s + more_s)
        sent = {**headers, "Content-Length": str(size)} if content is not None else dict(headers)
        body = _pieces(content) if content is not None else None
        self._uses[client] = self._uses.get(client, 0) + 1
        try:
            async with asyncio.timeout(times.answer_s + more_s + size / times.bytes_per_s_min if whole else None):
                async with client.stream(method, path, content=body, headers=sent, timeout=timeout) as response:
                    if response.status_code >= 300:
                        raise await _refused(response)
                    yield response
        except TimeoutError:
            raise Unavailable("hub_silent", f"The hub at {self._base} did not answer in time.") from None
        except httpx.HTTPError as error:
            raise self._failure(error) from error
        except (OSError, httpx.StreamError) as error:  # such as a TLS alert that comes after the handshake
            text = f"The connection to the hub at {self._base} broke: {str(error)[:200]}."
            raise Unavailable("connection_lost", text) from error
        finally:
            self._uses[client] -= 1
            if not self._uses[client]:
                del self._uses[client]
                if client is not self._client:
                    await client.aclose()

    def _failure(self, error: httpx.HTTPError) -> LittoralError:
        if isinstance(error, httpx.TimeoutException) and not isinstance(error, httpx.ConnectTimeout):
            return Unavailable("hub_silent", f"The hub at {self._base} did not answer in time.")
        if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.ProxyError):
            return Unavailable("hub_unreachable", f"The hub at {self._base} cannot be reached: {str(error)[:200]}.")
        return Unavailable("connection_lost", f"The connection to the hub at {self._base} broke: {str(error)[:200]}.")


async def _pieces(content: bytes) -> AsyncIterator[bytes]:
    view = memoryview(content)
    for start in range(0, len(view), PIECE_BYTES):
        yield bytes(view[start : start + PIECE_BYTES])


async def _read(response: httpx.Response, bytes_max: int) -> bytes:
    found = bytearray()
    async for piece in response.aiter_raw():
        found += piece
        if len(found) > bytes_max:
            raise Unavailable("answer_unreadable", f"A hub's answer is over {bytes_max} bytes. Check the address.")
    return bytes(found)


async def _refused(response: httpx.Response) -> LittoralError:
    """The error that an answer tells; what is not written as ours tells its status only."""
    status = response.status_code
    refusal = _Refusal()
    with suppress(msgspec.MsgspecError, UnicodeDecodeError):  # a proxy's page, or the answer to HEAD
        refusal = msgspec.json.decode(await _read(response, ANSWER_BYTES_MAX), type=_Refusal)
    if status == 413:
        refusal.code = "body_too_large"
    context: dict[str, Plain] = {"status": status}
    retry_ms = max(refusal.retry_after_ms, _retry_after_ms(response.headers.get("retry-after", "")))
    if retry_ms > 0:
        context["retry_after_ms"] = retry_ms
    if refusal.offset is not None:
        context["offset"] = refusal.offset
    message = refusal.error[:500] or f"The hub answered with status {status}."
    if _CODE.fullmatch(refusal.code):
        return _KINDS.get(status, Unavailable)(refusal.code, message, **context)
    return _unnamed(_KINDS.get(status, Unavailable), message, context)


def _unnamed(kind: type[LittoralError], message: str, context: dict[str, Plain]) -> LittoralError:
    """The error for an answer without a code of ours: a proxy's, or a server's that is no hub."""
    if kind is Denied:
        return Denied("hub_refused", message, **context)
    if kind is NotFound:
        return NotFound("hub_refused", message, **context)
    if kind is Invalid:
        return Invalid("hub_refused", message, **context)
    if kind is Overloaded:
        return Overloaded("hub_refused", message, **context)
    return Unavailable("hub_refused", message, **context)


def _retry_after_ms(text: str) -> float:
    return min(int(text), 3600) * 1e3 if text.isascii() and text.isdigit() and len(text) < 7 else 0.0


def _extent(response: httpx.Response, offset: int) -> tuple[int, int]:
    """Where the body begins in the blob, and how long the whole blob is."""
    length = response.headers.get("content-length", "")
    if response.status_code == 200 and length.isdigit():
        return 0, int(length)
    match = _RANGE.fullmatch(response.headers.get("content-range", ""))
    if response.status_code != 206 or match is None or int(match[1]) != offset:
        raise Unavailable("answer_unreadable", "A hub's answer says not which part of a blob it is.")
    return offset, int(match[3])


def _offset(response: httpx.Response) -> int:
    text = response.headers.get("upload-offset", "")
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise Unavailable("answer_unreadable", "A hub's answer says not how much of an upload is there.")
    return int(text)
