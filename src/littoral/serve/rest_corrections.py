"""`GET /v2/littoral/corrections`: late answers of upstreams as server-sent events, for as long as somebody listens.

An event `correction` carries an answer as `infer` would have given it in JSON; its `id` is the request's. A comment
every 15 seconds keeps the connection from looking dead.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Final

from littoral.core.errors import LittoralError, NotFound
from littoral.core.request import InferAnswer
from littoral.net.oip_http import JSON_FORM, encode_answer
from littoral.serve.dataplane import DataPlane
from littoral.serve.http_head import Head
from littoral.serve.http_reply import Reply
from littoral.serve.http_stream import Stream

if TYPE_CHECKING:
    from littoral.runtime.corrections import Corrections

EVENTS: Final = b"text/event-stream"
HEARTBEAT_S: Final = 15.0
_BEAT: Final = b": still here\n\n"


def corrections(plane: DataPlane, head: Head) -> Reply | Stream:
    """The stream; `NotFound` (`corrections_missing`) where no answer is ever late, `Overloaded` (`listeners_full`)."""
    known = plane.corrections
    if known is None:
        raise NotFound(
            "corrections_missing", "This server asks no upstream, so no answer is ever late. Serve with --upstream."
        )
    if head.method == "HEAD":
        return Reply(200, [], EVENTS)
    known.check_room()
    return Stream(_events(known), EVENTS)


async def _events(known: Corrections) -> AsyncIterator[bytes]:
    with known.subscribe() as subscription:
        yield _BEAT
        while True:
            answer = await subscription.next(HEARTBEAT_S)
            yield _BEAT if answer is None else _event(answer)


def _event(answer: InferAnswer) -> bytes:
    try:
        body = b"".join(encode_answer(answer, JSON_FORM).parts)
    except LittoralError as error:  # an output that JSON has no words for: whoever wants it asks again
        return b": correction %b is left out: %b\n\n" % (answer.id[:128].encode().hex().encode(), error.code.encode())
    return b"event: correction\ndata: " + body + b"\n\n"
