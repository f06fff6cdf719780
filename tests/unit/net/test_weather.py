"""A forecast says what the link does at each moment."""

from __future__ import annotations

from pathlib import Path

import pytest

from littoral.core.errors import Invalid, Unavailable
from littoral.net.weather import Fault, Forecast, Weather, read_trace

FAIR = Weather(1_000_000, 0.02)


def test_a_flapping_link_works_and_fails_in_turn() -> None:
    forecast = Forecast(FAIR, fault=Fault.DROP, flap_s=5)
    faults = [forecast.at(second).fault for second in (0, 4.9, 5, 9.9, 10, 15)]
    assert faults == [Fault.NONE, Fault.NONE, Fault.DROP, Fault.DROP, Fault.NONE, Fault.DROP]


def test_a_trace_repeats_when_it_is_over(tmp_path: Path) -> None:
    # given three seconds of trace, that begin at some time of their own
    file = tmp_path / "trace.log"
    file.write_text("# second  Mbit/s\n100 8\n101, 4\n\n102 16\n")

    # when it is read
    trace, length = read_trace(file)

    # then it starts at nought, lasts three seconds, and comes round
    forecast = Forecast(FAIR, trace=trace, trace_s=length)
    assert length == 3
    assert [forecast.at(second).bytes_per_s for second in (0, 1.5, 2, 3, 4)] == [1e6, 5e5, 2e6, 1e6, 5e5]


def test_where_a_trace_has_no_rate_bytes_wait() -> None:
    forecast = Forecast(FAIR, trace=((0, 1e6), (1, 0.0)), trace_s=2)
    assert forecast.at(1.5).fault is Fault.BLACKHOLE


@pytest.mark.parametrize("text", ["1 2\nx y\n", "1 2\n2\n", "2 1\n1 1\n", "1 1\n2 -3\n", "1 1\n", ""])
def test_a_trace_that_cannot_be_read_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "trace.log"
    file.write_text(text)
    with pytest.raises(Invalid) as refused:
        read_trace(file)
    assert refused.value.code == "trace_wrong"


def test_a_trace_that_is_not_there_says_which(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=r"none\.log"):
        read_trace(tmp_path / "none.log")
