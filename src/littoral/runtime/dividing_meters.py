"""What is known of divided models and their profiles, as metrics."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from littoral.monitor.meters import Family


def split_families(stands: Iterable[tuple[str, str, str, bool]]) -> Iterator[Family]:
    """`stands`: model, upstream, block, and whether both halves are open."""
    rows = [((model, upstream, block), float(ready)) for model, upstream, block, ready in stands]
    labels = ("model", "upstream", "block")
    yield Family("split_ready", "1 where a divided model's head and tail stand ready.", labels, rows)


def profile_families(states: Iterable[tuple[str, str]]) -> Iterator[Family]:
    """`states`: model, and where its profile came from."""
    rows = [(row, 1.0) for row in states]
    yield Family("profile", "1 for where a model's profile came from.", ("model", "state"), rows)
