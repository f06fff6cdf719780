"""A minimum cut between two terminals, by Dinic's algorithm on plain lists.

Dinic, "Algorithm for solution of a problem of maximum flow in networks with power estimation", 1970. Networks here have
a few hundred nodes, where lists of numbers beat any import. Capacities are non-negative floats; inf is allowed.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

SOURCE = 0
SINK = 1
_ROUNDING = 1e-12  # a residual below this share of the largest finite capacity is rounding, not capacity


class FlowNetwork:
    """Nodes are numbers; arc `i` and its twin `i ^ 1` run in opposite directions and share their residual."""

    def __init__(self) -> None:
        self._arcs: list[list[int]] = [[], []]
        self._head: list[int] = []
        self._residual: list[float] = []
        self._level: list[int] = []
        self._near: list[bool] = []

    def add_node(self) -> int:
        """A new node's number."""
        self._arcs.append([])
        return len(self._arcs) - 1

    def add_arc(self, tail: int, head: int, capacity: float, back: float = 0.0) -> None:
        """An arc, with `back` as the capacity of its twin."""
        arcs = self._arcs
        arcs[tail].append(len(self._head))
        arcs[head].append(len(self._head) + 1)
        self._head += (head, tail)
        self._residual += (capacity, back)

    def bind(self, tails: Sequence[int], heads: Sequence[int]) -> None:
        """Arcs that cannot be cut: a tail on the source's side takes its head along. What always holds is left out."""
        arcs, ends, residual = self._arcs, self._head, self._residual
        for tail, head in zip(tails, heads, strict=True):
            if tail != SINK and head != SOURCE:
                number = len(ends)
                arcs[tail].append(number)
                arcs[head].append(number + 1)
                ends += (head, tail)
                residual += (inf, 0.0)

    def solve(self) -> float:
        """The value of the minimum cut; inf where the source cannot be cut off. Call it once."""
        finite = [capacity for capacity in self._residual if capacity != inf]
        least = _ROUNDING * max(finite, default=0.0)
        total = 0.0
        while self._find_levels(least):
            flow = self._block(least)
            if flow == inf:
                return inf
            total += flow
        self._near = self._reached(least)
        return total

    def near_source(self, node: int) -> bool:
        """After `solve`: whether the cut leaves this node on the source's side (the smallest such side)."""
        return self._near[node]

    def _find_levels(self, least: float) -> bool:
        """Distances to the sink over arcs with room; False when the source cannot reach it.

        Counted from the sink, so that a walk from the source towards ever smaller ones runs into few dead ends.
        """
        arcs, head, residual = self._arcs, self._head, self._residual
        level = [-1] * len(arcs)
        level[SINK] = 0
        frontier = [SINK]
        depth = 0
        while frontier and level[SOURCE] < 0:
            depth += 1
            reached = []
            for node in frontier:
                for arc in arcs[node]:
                    maker = head[arc]
                    if level[maker] < 0 and residual[arc ^ 1] > least:
                        level[maker] = depth
                        reached.append(maker)
            frontier = reached
        self._level = level
        return level[SOURCE] >= 0

    def _reached(self, least: float) -> list[bool]:
        """Which nodes the source still reaches over arcs with room."""
        arcs, head, residual = self._arcs, self._head, self._residual
        near = [False] * len(arcs)
        near[SOURCE] = True
        waiting = [SOURCE]
        while waiting:
            for arc in arcs[waiting.pop()]:
                target = head[arc]
                if not near[target] and residual[arc] > least:
                    near[target] = True
                    waiting.append(target)
        return near

    def _block(self, least: float) -> float:
        """Pushes flow along shortest paths until none is left; inf if a path without a bound exists."""
        arcs, head, residual, level = self._arcs, self._head, self._residual, self._level
        place = [0] * len(arcs)
        total = 0.0
        path: list[int] = []
        node = SOURCE
        while True:
            if node == SINK:
                pushed, cut_at = _push(path, residual, least)
                if pushed == inf:
                    return inf
                total += pushed
                node = head[path[cut_at] ^ 1]
                del path[cut_at:]
                continue
            leaving = arcs[node]
            at = place[node]
            nearer = level[node] - 1
            while at < len(leaving):
                arc = leaving[at]
                if residual[arc] > least and level[head[arc]] == nearer:
                    break
                at += 1
            place[node] = at
            if at < len(leaving):
                path.append(leaving[at])
                node = head[leaving[at]]
            elif path:
                node = head[path.pop() ^ 1]
                place[node] += 1
            else:
                return total


def _push(path: Sequence[int], residual: list[float], least: float) -> tuple[float, int]:
    """Sends what the path can take; also where its first full arc lies."""
    amount = min([residual[arc] for arc in path])
    if amount == inf:
        return inf, 0
    first_full = len(path)
    for index, arc in enumerate(path):
        residual[arc] -= amount
        residual[arc ^ 1] += amount
        if residual[arc] <= least and index < first_full:
            first_full = index
    return amount, first_full
