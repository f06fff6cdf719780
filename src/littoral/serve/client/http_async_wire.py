"""HTTP/1.1 over kept-alive connections on an event loop."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass

from littoral.serve.client.address import Address
from littoral.serve.client.http_wire import CONNECT_S_MAX, IDLE_MAX, away, late, lost
from littoral.serve.client.httptools_reader import ResponseReader, request_parts
from littoral.serve.client.wire import ANSWER_BYTES_MAX, Ask, Reply

_READ_BYTES = 262_144


@dataclass(frozen=True, slots=True)
class _Connection:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter


class HttpAsyncWire:
    """Connections to one server; at most 32 stay open while idle. Used from one event loop."""

    def __init__(
        self,
        address: Address,
        *,
        tls: ssl.SSLContext | None = None,
        server_name: str | None = None,
        answer_bytes_max: int = ANSWER_BYTES_MAX,
    ) -> None:
        self._answer_bytes_max = answer_bytes_max
        self._address = address
        self._tls = tls
        self._server_name = None if tls is None else server_name or address.host
        self._idle: list[_Connection] = []
        self._closed = False

    async def send(self, ask: Ask, timeout_s: float) -> Reply:
        """One request and its response; once more on a fresh connection where a kept one had been closed."""
        try:
            async with asyncio.timeout(timeout_s):
                if self._idle:
                    reply = await self._exchange(self._idle.pop(), ask, stale_allowed=True)
                    if reply is not None:
                        return reply
                reply = await self._exchange(await self._connect(), ask, stale_allowed=False)
        except TimeoutError as error:
            raise late() from error
        assert reply is not None, "only a kept connection may turn out stale"
        return reply

    async def close(self) -> None:
        """Closes what is idle; a call still running closes its own connection."""
        self._closed = True
        idle, self._idle = self._idle, []
        for connection in idle:
            connection.writer.close()
        for connection in idle:
            await _closed(connection)

    async def _connect(self) -> _Connection:
        try:
            async with asyncio.timeout(CONNECT_S_MAX):
                reader, writer = await asyncio.open_connection(
                    self._address.host,
                    self._address.port,
                    ssl=self._tls,
                    server_hostname=self._server_name,
                    limit=1 << 20,
                )
        except OSError as error:
            raise away(self._address, error) from error
        return _Connection(reader, writer)

    async def _exchange(self, connection: _Connection, ask: Ask, *, stale_allowed: bool) -> Reply | None:
        """Sends and reads; None where a kept connection turns out to be closed before it answered."""
        reader = ResponseReader(answer_bytes_max=self._answer_bytes_max)
        kept = False
        try:
            whole = await self._send(connection, ask)
            while reader.reply is None:
                chunk = await connection.reader.read(_READ_BYTES)
                if chunk:
                    reader.feed(chunk)
                    continue
                reader.end()
                if reader.reply is None:
                    raise ConnectionResetError("closed before the answer was complete")
            kept = whole and reader.keep_alive and self._keep(connection)
            return reader.reply
        except TimeoutError:
            raise
        except OSError as error:
            if stale_allowed and not reader.started:
                return None
            raise lost(self._address, error) from error
        finally:
            reader.close()
            # Also where the caller was cancelled: half an exchange must never meet the next request.
            if not kept:
                connection.writer.close()

    async def _send(self, connection: _Connection, ask: Ask) -> bool:
        """Sends the request; False where the other side closed midway, perhaps after a refusal that can be read."""
        try:
            for part in request_parts(ask, authority=self._address.authority, prefix=self._address.prefix):
                connection.writer.write(part)
            await connection.writer.drain()
        except (BrokenPipeError, ConnectionResetError):
            return False
        return True

    def _keep(self, connection: _Connection) -> bool:
        if self._closed or len(self._idle) >= IDLE_MAX:
            return False
        self._idle.append(connection)
        return True


async def _closed(connection: _Connection) -> None:
    try:
        await connection.writer.wait_closed()
    except OSError:  # it is closed either way
        return
