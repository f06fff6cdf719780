"""HTTP/1.1 over kept-alive connections, blocking: a stack of idle sockets that any thread may take from."""

from __future__ import annotations

import socket
import ssl
import threading
import time

from littoral.core.errors import Expired, LittoralError, Unavailable
from littoral.serve.client.address import Address
from littoral.serve.client.httptools_reader import ResponseReader, request_parts
from littoral.serve.client.wire import Ask, Reply

CONNECT_S_MAX = 5.0
IDLE_MAX = 32
_READ_BYTES = 262_144


class HttpWire:
    """Connections to one server; at most 32 stay open while idle."""

    def __init__(self, address: Address, *, tls: ssl.SSLContext | None = None, server_name: str | None = None) -> None:
        self._address = address
        self._tls = tls
        self._server_name = server_name or address.host
        self._idle: list[socket.socket] = []
        self._lock = threading.Lock()
        self._closed = False

    def send(self, ask: Ask, timeout_s: float) -> Reply:
        """One request and its response.

        A connection that was idle may have been closed by the server just now. Then nothing was answered, and the
        request goes out once more on a fresh one.
        """
        until_s = time.monotonic() + timeout_s
        with self._lock:
            kept = self._idle.pop() if self._idle else None
        if kept is not None:
            reply = self._exchange(kept, ask, until_s, stale_allowed=True)
            if reply is not None:
                return reply
        reply = self._exchange(self._connect(until_s), ask, until_s, stale_allowed=False)
        assert reply is not None, "only a kept connection may turn out stale"
        return reply

    def close(self) -> None:
        """Closes what is idle; a call still running closes its own connection."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def _connect(self, until_s: float) -> socket.socket:
        left_s = _left_s(until_s)
        try:
            connection = socket.create_connection(
                (self._address.host, self._address.port), timeout=min(left_s, CONNECT_S_MAX)
            )
        except OSError as error:
            if isinstance(error, TimeoutError) and left_s < CONNECT_S_MAX:
                raise late() from error
            raise away(self._address, error) from error
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._tls is None:
            return connection
        try:
            return self._tls.wrap_socket(connection, server_hostname=self._server_name)
        except OSError as error:
            connection.close()
            raise away(self._address, error) from error

    def _exchange(self, connection: socket.socket, ask: Ask, until_s: float, *, stale_allowed: bool) -> Reply | None:
        """Sends and reads; None where a kept connection turns out to be closed before it answered."""
        reader = ResponseReader()
        kept = False
        try:
            whole = self._send(connection, ask, until_s)
            while reader.reply is None:
                connection.settimeout(_left_s(until_s))
                chunk = connection.recv(_READ_BYTES)
                if chunk:
                    reader.feed(chunk)
                    continue
                reader.end()
                if reader.reply is None:
                    raise ConnectionResetError("closed before the answer was complete")
            kept = whole and reader.keep_alive and self._keep(connection)
            return reader.reply
        except TimeoutError as error:
            raise late() from error
        except OSError as error:
            if stale_allowed and not reader.started:
                return None
            raise lost(self._address, error) from error
        finally:
            reader.close()
            if not kept:
                connection.close()

    def _send(self, connection: socket.socket, ask: Ask, until_s: float) -> bool:
        """Sends the request; False where the other side closed midway, perhaps after a refusal that can be read."""
        try:
            for part in request_parts(ask, authority=self._address.authority, prefix=self._address.prefix):
                connection.settimeout(_left_s(until_s))
                connection.sendall(part)
        except (BrokenPipeError, ConnectionResetError):
            return False
        return True

    def _keep(self, connection: socket.socket) -> bool:
        with self._lock:
            if self._closed or len(self._idle) >= IDLE_MAX:
                return False
            self._idle.append(connection)
            return True


def away(address: Address, error: OSError) -> LittoralError:
    """Nobody answers at the address."""
    why = error.strerror or str(error) or type(error).__name__
    return Unavailable(
        "server_away", f"No server answers at {address.url}: {why}. Start one, or give its address.", url=address.url
    )


def lost(address: Address, error: Exception) -> LittoralError:
    """The connection broke while an answer was awaited."""
    return Unavailable(
        "connection_lost", f"The connection to {address.url} broke before the answer came: {error}.", url=address.url
    )


def late() -> LittoralError:
    """The time is over and no answer has come."""
    return Expired("answer_late", "No answer came within the time given. Give more, or ask a quicker server.")


def _left_s(until_s: float) -> float:
    left_s = until_s - time.monotonic()
    if left_s <= 0:
        raise late()
    return left_s
