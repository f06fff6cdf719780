"""Reads one HTTP/1.1 response at a time from bytes as they come, with httptools; no socket, no waiting."""

from __future__ import annotations

import httptools

from littoral.core.errors import Unavailable
from littoral.serve.client.wire import ANSWER_BYTES_MAX, Ask, Buffer, Reply

_HEADERS_MAX = 200


class ResponseReader:
    """Fed with bytes until `reply` is set, then closed; the next response has a reader of its own."""

    def __init__(self, *, answer_bytes_max: int = ANSWER_BYTES_MAX) -> None:
        self._answer_bytes_max = answer_bytes_max
        self.reply: Reply | None = None
        self.keep_alive = False
        self.started = False
        self._headers: dict[str, str] = {}
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._parser = httptools.HttpResponseParser(self)

    def feed(self, chunk: bytes) -> None:
        """Takes what came; `Unavailable` (`answer_unreadable`) if this is no HTTP or more than a client can hold."""
        self.started = True
        try:
            self._parser.feed_data(chunk)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            raise _unreadable(str(error)) from error

    def end(self) -> None:
        """The other side has closed; a response that says nowhere how long it is, is complete now."""
        framed = "content-length" in self._headers or "transfer-encoding" in self._headers
        if self.reply is None and self._headers and not framed:
            self.keep_alive = False
            self.reply = Reply(self._parser.get_status_code(), self._headers, b"".join(self._body))

    def close(self) -> None:
        """Lets go of the parser, which holds this object: otherwise bodies would wait for the garbage collector."""
        del self._parser

    # What httptools calls.

    def on_header(self, name: bytes, value: bytes) -> None:
        if len(self._headers) >= _HEADERS_MAX:
            raise _unreadable(f"more than {_HEADERS_MAX} headers")
        header = name.decode("latin-1").lower()
        self._headers[header] = value.decode("latin-1")
        if header == "content-length" and int(value) > self._answer_bytes_max:  # the parser lets only digits pass
            raise _unreadable(f"{int(value)} bytes, more than {self._answer_bytes_max}")

    def on_body(self, chunk: bytes) -> None:
        self._body_bytes += len(chunk)
        if self._body_bytes > self._answer_bytes_max:
            raise _unreadable(f"more than {self._answer_bytes_max} bytes")
        self._body.append(chunk)

    def on_message_complete(self) -> None:
        status = self._parser.get_status_code()
        if status < 200:  # "100 Continue" and its like announce the real one
            self._headers, self._body, self._body_bytes = {}, [], 0
            return
        self.keep_alive = self._parser.should_keep_alive()
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        self.reply = Reply(status, self._headers, body)


def request_parts(ask: Ask, *, authority: str, prefix: str) -> list[Buffer]:
    """A request as bytes: the head (with a small body behind it), then what is left of the body."""
    size = sum(len(part) for part in ask.body)
    lines = [f"{ask.method} {prefix}{ask.path} HTTP/1.1", f"host: {authority}"]
    lines += [f"{name}: {value}" for name, value in ask.headers]
    if ask.body or ask.method != "GET":
        lines.append(f"content-length: {size}")
    head = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
    if size <= 65_536:  # one packet train, one system call: a copy of this size costs less than a second call
        return [b"".join([head, *ask.body])]
    return [head, *ask.body]


def _unreadable(why: str) -> Unavailable:
    return Unavailable("answer_unreadable", f"The server's answer is not HTTP as we read it: {why[:200]}.")
