"""A few of a model's calls, taken aside for who watches it: at most one in so many seconds, and bounded in memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

from littoral.core.tensor import Array, Tensor
from littoral.model.model import Call

KEPT_MAX = 64
KEPT_BYTES_MAX = 32 * 1024 * 1024
NUMBERS_MAX = 4096  # of one tensor: enough for its mean and spread


@dataclass(frozen=True, slots=True)
class Taken:
    """One answered call: the encoded picture or some numbers of the first input; the greatest score where the answer
    has scores (0 where nothing was found), else some numbers of the first output.
    """

    image: bytes | None
    given: Array | None
    score: float | None
    answered: Array | None


class Aside:
    """Closed until somebody opens it; used from the runtime's loop."""

    __slots__ = ("_bytes", "_kept", "every_s", "next_s")

    def __init__(self) -> None:
        self.every_s = 0.0
        self.next_s = inf
        self._kept: deque[Taken] = deque()
        self._bytes = 0

    def open(self, every_s: float) -> None:
        """From now on one call in `every_s` seconds is kept."""
        self.every_s, self.next_s = every_s, -inf

    def saw(self, call: Call, outputs: Sequence[Tensor], now_s: float) -> None:
        """One call was answered; most are let pass by one comparison."""
        if now_s >= self.next_s:
            self._keep(call, outputs, now_s)

    def take(self) -> list[Taken]:
        """What was kept since this was asked last."""
        kept, self._kept, self._bytes = list(self._kept), deque(), 0
        return kept

    def _keep(self, call: Call, outputs: Sequence[Tensor], now_s: float) -> None:
        size = 0 if call.image is None else len(call.image)
        if len(self._kept) >= KEPT_MAX or self._bytes + size > KEPT_BYTES_MAX:
            return
        self.next_s = now_s + self.every_s
        self._bytes += size
        scores = next((one.array for one in outputs if one.name == "score" and _numbers(one.array)), None)
        self._kept.append(
            Taken(
                call.image,
                None if call.image is not None else _some(call.arrays),
                None if scores is None else float(scores.max()) if scores.size else 0.0,
                None if scores is not None else _some([one.array for one in outputs]),
            )
        )


def _numbers(array: Array) -> bool:
    return array.dtype.kind in "fiu"


def _some(arrays: Sequence[Array]) -> Array | None:
    """A copy of numbers from all over the first array that has some: the array itself is soon another request's."""
    for array in arrays:
        if _numbers(array) and array.size:
            flat = array.reshape(-1)  # (size,)
            return flat[:: max(1, -(-flat.size // NUMBERS_MAX))].copy()
    return None
