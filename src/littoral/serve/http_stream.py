"""An HTTP answer without an end: written as it comes, until the caller goes, stops reading or the door closes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Final

from littoral.serve.http_reply import Pending, Reply

UNSENT_BYTES_MAX: Final = 256 * 1024
"""A caller who leaves more than this unread is not listening."""


@dataclass(frozen=True, slots=True)
class Stream:
    """What is said, step by step; the connection ends with it."""

    steps: AsyncIterator[bytes]
    content_type: bytes


class Streaming(Pending):
    """A stream that runs; cancelled with its connection."""


def begin(stream: Stream, transport: asyncio.Transport, head: bytes) -> Streaming:
    """Writes the head, and from now on each step as it comes."""
    transport.write(head)
    return Streaming(asyncio.get_running_loop().create_task(_run(stream.steps, transport)), _nothing)


def head_of(stream: Stream) -> bytes:
    """Status and headers; without a length, so that the end of the connection is the end of the body."""
    return (
        b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\nCache-Control: no-store\r\nX-Accel-Buffering: no\r\n"
        b"Connection: close\r\n\r\n" % stream.content_type
    )


async def _run(steps: AsyncIterator[bytes], transport: asyncio.Transport) -> None:
    async for step in steps:
        if transport.is_closing() or transport.get_write_buffer_size() > UNSENT_BYTES_MAX:
            return
        transport.write(step)


def _nothing(result: Any) -> Reply:
    raise AssertionError("a stream has no last word")
