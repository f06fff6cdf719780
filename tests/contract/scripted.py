"""A server that does what a test tells it to: one behaviour for each request that comes, on a real socket."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

Behaviour = Callable[[socket.socket, "Came"], bool]
"""Answers one request; True keeps the connection."""


@dataclass(frozen=True, slots=True)
class Came:
    """One request: its head as text, its headers in lower case, its body."""

    line: str
    headers: dict[str, str]
    body: bytes


@dataclass(slots=True)
class ScriptedServer:
    """What came, and where it listens; the last behaviour goes on for ever."""

    url: str
    came: list[Came] = field(default_factory=list)
    connections: int = 0


def answer(status: int, value: object, *, keep: bool = True, headers: str = "") -> Behaviour:
    """A whole JSON answer."""
    body = json.dumps(value).encode()

    def behave(peer: socket.socket, came: Came) -> bool:
        peer.sendall(f"HTTP/1.1 {status} X\r\ncontent-length: {len(body)}\r\n{headers}\r\n".encode() + body)
        return keep

    return behave


def drop(peer: socket.socket, came: Came) -> bool:
    """Closes without a word."""
    return False


def cut(peer: socket.socket, came: Came) -> bool:
    """Promises more than it sends."""
    peer.sendall(b'HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{"model_name"')
    return False


def hang(peer: socket.socket, came: Came) -> bool:
    """Says nothing until the other side gives up."""
    peer.recv(1)
    return False


@contextmanager
def scripted_server(*script: Behaviour, tls: ssl.SSLContext | None = None) -> Iterator[ScriptedServer]:
    """Serves until the block ends."""
    listener = socket.create_server(("127.0.0.1", 0))
    scheme = "http" if tls is None else "https"
    server = ScriptedServer(f"{scheme}://127.0.0.1:{listener.getsockname()[1]}")
    lock = threading.Lock()
    open_now: set[socket.socket] = set()

    def behaviour() -> Behaviour:
        return script[min(len(server.came), len(script)) - 1]

    def talk(peer: socket.socket) -> None:
        if tls is not None:
            try:
                peer = tls.wrap_socket(peer, server_side=True)
            except OSError:  # the other side does not trust us
                peer.close()
                return
        with peer:
            keep = True
            while keep:
                came = _read(peer)
                if came is None:
                    break
                with lock:
                    server.came.append(came)
                    behave = behaviour()
                try:
                    keep = behave(peer, came)
                except OSError:
                    break
        open_now.discard(peer)

    def listen() -> None:
        while True:
            try:
                peer, _ = listener.accept()
            except OSError:
                return
            server.connections += 1
            open_now.add(peer)
            threading.Thread(target=talk, args=(peer,), daemon=True).start()

    threading.Thread(target=listen, daemon=True).start()
    try:
        yield server
    finally:
        listener.close()
        for peer in list(open_now):
            peer.close()


def _read(peer: socket.socket) -> Came | None:
    """One request; None where the other side closed instead."""
    received = b""
    while b"\r\n\r\n" not in received:
        try:
            chunk = peer.recv(65_536)
        except OSError:
            return None
        if not chunk:
            return None
        received += chunk
    head, _, body = received.partition(b"\r\n\r\n")
    line, *rest = head.decode("latin-1").split("\r\n")
    headers = {name.strip().lower(): value.strip() for name, _, value in (one.partition(":") for one in rest)}
    while len(body) < int(headers.get("content-length", "0")):
        chunk = peer.recv(65_536)
        if not chunk:
            return None
        body += chunk
    return Came(line, headers, body)
