"""One edge until it is stopped: a new event loop, the edge on it, and signals."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable

from littoral.edge.edge import Edge, EdgeStanding
from littoral.edge.edge_settings import EdgeSettings
from littoral.edge.serving import new_loop


def run_edge(settings: EdgeSettings, *, on_ready: Callable[[EdgeStanding], None] = lambda _standing: None) -> None:
    """Starts an edge and serves until a signal stops it; `on_ready` is told once its models serve."""

    async def run() -> None:
        edge = Edge(settings)
        edge.hear_signals()
        standing = await edge.start()
        gc.collect()
        gc.freeze()
        on_ready(standing)
        await edge.run_until_stopped()

    with asyncio.Runner(loop_factory=new_loop()) as runner:
        runner.run(run())
