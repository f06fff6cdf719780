"""Progress: one line that rewrites itself where somebody watches, nothing elsewhere."""

from __future__ import annotations

import io

from littoral.cli.progress import Progress
from littoral.core.clock import ManualClock


class Terminal(io.StringIO):
    """A stream that says it is watched."""

    def isatty(self) -> bool:
        return True


def test_nothing_is_drawn_where_nobody_watches() -> None:
    stream = io.StringIO()

    with Progress(10, "pictures", stream=stream) as progress:
        progress.step()

    assert stream.getvalue() == ""


def test_the_line_shows_how_far_the_work_is() -> None:
    stream = Terminal()

    with Progress(4, "pictures", stream=stream, clock=ManualClock()) as progress:
        progress.step()

    assert "pictures [######..................] 1/4" in stream.getvalue()


def test_the_line_is_drawn_at_most_ten_times_a_second() -> None:
    stream, clock = Terminal(), ManualClock()

    with Progress(1000, "pictures", stream=stream, clock=clock) as progress:
        for _ in range(1000):
            clock.advance(0.001)
            progress.step()

    assert 8 <= stream.getvalue().count("pictures [") <= 11


def test_the_line_is_gone_when_the_work_is_over() -> None:
    stream = Terminal()

    with Progress(1, "pictures", stream=stream) as progress:
        progress.step()

    assert stream.getvalue().endswith("\r\x1b[K")
