"""`ModelStreamInfer`: requests and answers on one call, the answers in the order of their requests."""

from __future__ import annotations

import asyncio
from collections import deque
from functools import partial

from littoral.core.errors import LittoralError, Overloaded
from littoral.core.request import InferAnswer
from littoral.net.frame import Buffer
from littoral.net.oip_grpc import Parts, decode_request, encode_stream_answer, encode_stream_error
from littoral.serve.dataplane import DataPlane
from littoral.serve.grpc_methods import StreamCall, going_away

RUNNING_MAX = 16
"""Requests of one stream that run at the same time."""

QUEUED_MAX = 65_536
"""Messages of one stream that wait for their turn; their bytes are bounded by the stream's window."""


class _Slot:
    """One request's place in the order of answers."""

    __slots__ = ("future", "parts", "request_id", "size")

    def __init__(self, size: int) -> None:
        self.size = size
        self.request_id = ""
        self.parts: Parts | None = None
        self.future: asyncio.Future[InferAnswer] | None = None


class InferStream:
    """The server's side of one such call. A failed request is answered inside the stream, which goes on."""

    def __init__(self, plane: DataPlane, call: StreamCall) -> None:
        self._plane = plane
        self._call = call
        self._queued: deque[Buffer] = deque()
        self._slots: deque[_Slot] = deque()
        self._ended = False
        self._leaving = False
        self._over = False

    def message(self, message: Buffer) -> None:
        if len(self._queued) >= QUEUED_MAX:
            self._call.finish(Overloaded("stream_full", f"{QUEUED_MAX} requests wait on this stream. Send slower."))
            return
        self._queued.append(message)
        self.advance()

    def ended(self) -> None:
        self._ended = True
        self.advance()

    def advance(self) -> None:
        while self._queued and len(self._slots) < RUNNING_MAX and not self._call.held and not self._over:
            self._begin(self._queued.popleft())
            self._flush()
        if (self._ended or self._leaving) and not self._over and not self._queued and not self._slots:
            self._over = True
            self._call.finish(None if self._ended else going_away())

    def leave(self) -> None:
        self._leaving = True
        self.advance()

    def closed(self) -> None:
        self._over = True
        self._queued.clear()
        for slot in self._slots:
            if slot.future is not None:
                slot.future.cancel()
        self._slots.clear()

    def _begin(self, message: Buffer) -> None:
        slot = _Slot(len(message))
        self._slots.append(slot)
        try:
            request = decode_request(message, budget_ms=self._call.budget_ms_left())
            slot.request_id = request.id
            begun = self._plane.begin(request)
        except LittoralError as error:
            slot.parts = encode_stream_error(error.message, slot.request_id)
            return
        if isinstance(begun, InferAnswer):
            slot.parts = encode_stream_answer(begun)
        else:
            slot.future = begun
            begun.add_done_callback(partial(self._done, slot))

    def _done(self, slot: _Slot, future: asyncio.Future[InferAnswer]) -> None:
        error = going_away() if future.cancelled() else future.exception()
        if self._over:
            return
        try:
            if error is not None:
                raise error
            slot.parts = encode_stream_answer(future.result())
        except LittoralError as failed:
            slot.parts = encode_stream_error(failed.message, slot.request_id)
        except Exception as fault:  # noqa: BLE001  a fault of the server's ends the stream; its log says why
            self._call.finish(fault)
            return
        self._flush()
        self.advance()

    def _flush(self) -> None:
        """Sends every answer whose predecessors have been sent."""
        slots = self._slots
        while slots and slots[0].parts is not None and not self._over:
            slot = slots.popleft()
            assert slot.parts is not None
            self._call.send(slot.parts)
            self._call.consumed(slot.size)
