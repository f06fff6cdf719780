"""Memory for bodies: placed for tensors, lent again when nobody looks at it, and bounded."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from littoral.core.tensor import Array
from littoral.serve.body_memory import BodyMemory

LARGE = 600_000


def address(room: memoryview) -> int:
    return int(np.frombuffer(room, np.uint8).ctypes.data)


@given(st.integers(1, 200_000), st.integers(0, 500))
def test_what_comes_after_the_head_starts_at_a_multiple_of_64(length: int, ahead: int) -> None:
    memory = BodyMemory()

    rooms = [memory.room(length, ahead) for _ in range(2)]

    assert [len(room) for room in rooms] == [length, length]
    assert all((address(room) + ahead) % 64 == 0 for room in rooms)


@pytest.mark.parametrize(
    "over",
    [
        lambda room: np.ndarray((100,), np.float32, room[64:], 0),
        lambda room: np.frombuffer(room[64:464], np.float32),
        lambda room: np.frombuffer(room, np.float32)[:100].reshape(10, 10)[2:],
        lambda room: np.asarray(room)[:100].T,
    ],
)
def test_memory_is_lent_again_once_nobody_looks_at_it(over: Callable[[memoryview], Array]) -> None:
    # given a body with an array over a part of it
    memory = BodyMemory()
    room = memory.room(LARGE)
    place = address(room)
    array = over(room)

    # when the body is gone and the array is not
    del room
    other = memory.room(LARGE)

    # then the array keeps its memory until it is gone too
    assert address(other) != place
    array[:] = 1
    del array
    assert address(memory.room(LARGE)) == place


def test_no_two_bodies_share_memory() -> None:
    memory = BodyMemory()
    memory.room(LARGE)

    first, second = memory.room(LARGE), memory.room(LARGE)

    first[:], second[:] = bytes(LARGE), bytes([1]) * LARGE
    assert first[:] == bytes(LARGE)


def test_a_small_body_does_not_take_the_memory_of_a_large_one() -> None:
    memory = BodyMemory()
    place = address(memory.room(4 * LARGE))

    small = memory.room(LARGE)

    assert not place <= address(small) < place + 4 * LARGE


def test_no_more_is_kept_than_allowed() -> None:
    # given memory that keeps two of these bodies
    memory = BodyMemory(kept_bytes_max=2 * LARGE + 1000)
    lent = [memory.room(LARGE) for _ in range(5)]

    # when five come back
    lent.clear()

    # then two wait
    assert memory.kept_bytes == 2 * (LARGE + 64)


def test_a_resting_door_keeps_nothing_and_rests_at_most_once_a_second() -> None:
    # given a body that has come back
    memory, loop = BodyMemory(), asyncio.new_event_loop()
    memory.room(LARGE)
    times: list[float] = []

    def call_at(when: float, callback: Callable[..., None], *arguments: float) -> asyncio.TimerHandle:
        times.append(when)
        callback(*arguments)
        return asyncio.TimerHandle(when, callback, arguments, loop)

    # when nobody is connected any more, twice, and in between was another body
    with patch.object(loop, "time", lambda: 10.0), patch.object(loop, "call_at", call_at):
        memory.rest(loop)
        kept_bytes = memory.kept_bytes
        memory._timer = None
        memory.rest(loop)
        memory.room(LARGE)
        memory.rest(loop)
    loop.close()

    # then what was kept is gone, and the second rest waits
    assert kept_bytes == 0
    assert times == [pytest.approx(10.02), pytest.approx(11.02)]
