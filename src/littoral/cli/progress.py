"""Progress of long work: one line on standard error that rewrites itself, and nothing where nobody watches."""

from __future__ import annotations

import shutil
import sys
from types import TracebackType
from typing import Self, TextIO

from littoral.core.clock import Clock, RealClock

_INTERVAL_S = 0.1
_BAR_WIDTH = 24


class Progress:
    """Counts steps and shows them, at most ten times a second, if the stream is a terminal and `shown` holds."""

    def __init__(
        self, total: int, what: str, *, shown: bool = True, stream: TextIO | None = None, clock: Clock | None = None
    ) -> None:
        self._total = total
        self._what = what
        self._stream = sys.stderr if stream is None else stream
        self._clock = RealClock() if clock is None else clock
        self._shown = shown and self._stream.isatty()
        self._done = 0
        self._drawn_s = float("-inf")
        self._line_drawn = False

    def step(self) -> None:
        """One more is done."""
        self._done += 1
        if self._shown and self._clock.monotonic_s() - self._drawn_s >= _INTERVAL_S:
            self._draw()

    def wipe(self) -> None:
        """Takes the line away, so that something else can be printed; the next step draws it again."""
        if self._line_drawn:
            self._stream.write("\r\x1b[K")
            self._stream.flush()
            self._line_drawn = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.wipe()

    def _draw(self) -> None:
        self._drawn_s = self._clock.monotonic_s()
        filled = _BAR_WIDTH * self._done // max(1, self._total)
        line = f"{self._what} [{'#' * filled}{'.' * (_BAR_WIDTH - filled)}] {self._done}/{self._total}"
        # A line that wraps could not be wiped again.
        self._stream.write("\r" + line[: shutil.get_terminal_size().columns - 1] + "\x1b[K")
        self._stream.flush()
        self._line_drawn = True
