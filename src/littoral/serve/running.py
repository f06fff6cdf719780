"""One process of ours until it is stopped: a loop of its own, signals, and memory that goes back to the system."""

from __future__ import annotations

import asyncio
import gc
from asyncio import sslproto
from collections.abc import Callable
from typing import Protocol, TypeVar

from littoral.model.memory import keep_memory_low, release_memory

_COLLECT_EVERY = (20_000, 50, 100)
TLS_BUFFER_BYTES = 32 * 1024
"""What is read from one TLS connection at a time; a record has 16 KiB at most."""
S = TypeVar("S")
S_co = TypeVar("S_co", covariant=True)


class Stoppable(Protocol[S_co]):
    """What runs: a node, an edge, a hub."""

    def hear_signals(self) -> None:
        """Lets SIGTERM and SIGINT stop it in order."""
        ...

    async def start(self) -> S_co:
        """Returns what it then stands for."""
        ...

    async def run_until_stopped(self) -> None:
        """Waits for the end, and stops."""
        ...


def run_process(make: Callable[[], Stoppable[S]], *, on_ready: Callable[[S], None] = lambda _standing: None) -> None:
    """Starts what `make` makes, on a new event loop, and runs it until a signal stops it; `on_ready` is told once.

    The process is its own: the loop is uvloop's where that is installed (the extra `[uvloop]`), and what stands at the
    start is taken out of garbage collection.
    """

    async def run() -> None:
        one = make()
        one.hear_signals()
        standing = await one.start()
        release_memory()
        gc.collect()
        gc.freeze()  # models and code stay: looking through them again and again would cost a tenth of a tiny request
        gc.set_threshold(*_COLLECT_EVERY)
        on_ready(standing)
        await one.run_until_stopped()

    keep_memory_low()
    # asyncio lends each TLS connection a buffer of 256 KiB, filled with zeros: half a gigabyte for a thousand sites.
    sslproto.SSLProtocol.max_size = TLS_BUFFER_BYTES
    with asyncio.Runner(loop_factory=new_loop()) as runner:
        runner.run(run())


def new_loop() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop's loop where it is installed; it halves the processor time of large bodies."""
    try:
        import uvloop
    except ImportError:
        return None
    new_loop: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return new_loop
