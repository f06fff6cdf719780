"""How many requests to join in one run: pure decisions from measured costs and the head's time left."""

from __future__ import annotations

from collections.abc import Mapping

from littoral.runtime.cost import Cost

# Joining has to save a quarter of the time, measured with joining and splitting: less is lost again to waiting.
PAYS = 0.75
# Going on to the next size has to save another twentieth.
PAYS_FURTHER = 0.95


def paying_size(points: Mapping[int, float], *, size_max: int | None = None) -> int:
    """The greatest measured batch size up to `size_max` that pays; 1 where none does.

    `points`: seconds of one run by batch size, joining and splitting included.
    """
    best = 1
    for size in sorted(points):
        if size == 1 or (size_max is not None and size > size_max):
            continue
        each_s = points[size] / size
        if each_s > PAYS * points[1] or each_s > PAYS_FURTHER * points[best] / best:
            break
        best = size
    return best


def rows_to_join(*, waiting_rows: int, size_max: int, slack_s: float, cost: Cost, workers_idle: int) -> int:
    """How many of the waiting rows the next run takes.

    `slack_s` is the head's time left: the run must fit into it, for joining may not make the most urgent job late. Work
    that idle workers could do at the same time is left to them: `workers_idle` counts the one that asks.
    """
    rows = min(waiting_rows, size_max)
    if workers_idle > 1:
        rows = min(rows, -(-waiting_rows // workers_idle))
    while rows > 1 and cost.cautious_s(rows) > slack_s:
        rows //= 2
    return max(rows, 1)
