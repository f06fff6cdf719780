"""One hub until it is stopped: a new event loop, the hub on it, and signals."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable

from littoral.hub.hub import Hub, Standing
from littoral.hub.settings import HubSettings


def run_hub(settings: HubSettings, *, on_ready: Callable[[Standing], None] = lambda _standing: None) -> None:
    """Starts a hub and serves until a signal stops it; `on_ready` is told once it listens."""

    async def run() -> None:
        hub = Hub(settings)
        hub.hear_signals()
        standing = await hub.start()
        gc.collect()
        gc.freeze()
        on_ready(standing)
        await hub.run_until_stopped()

    with asyncio.Runner(loop_factory=_new_loop()) as runner:
        runner.run(run())


def _new_loop() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop's loop where it is installed."""
    try:
        import uvloop
    except ImportError:
        return None
    new_loop: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return new_loop
