"""Quantities are read and written as people write them."""

from __future__ import annotations

import pytest

from littoral.core.errors import Invalid
from littoral.core.units import byte_count, bytes_per_ms, milliseconds, share, show_bytes, show_ms, show_rate, watts


@pytest.mark.parametrize(
    ("text", "rate"), [("8Mbit/s", 1000.0), ("8", 1000.0), ("1Gbit/s", 125_000.0), ("64 kbit/s", 8.0)]
)
def test_a_rate_is_read_in_bits_and_kept_in_bytes_a_millisecond(text: str, rate: float) -> None:
    assert bytes_per_ms(text) == rate


@pytest.mark.parametrize(("text", "power"), [("5W", 5.0), ("5", 5.0), ("300mW", 0.3), ("1.2 kW", 1200.0)])
def test_a_power_is_read_in_watts(text: str, power: float) -> None:
    assert watts(text) == pytest.approx(power)


@pytest.mark.parametrize("read", [bytes_per_ms, watts, milliseconds, byte_count, share])
@pytest.mark.parametrize("text", ["", "fast", "-1", "1e3", "5 parsec", "nan", "inf"])
def test_what_is_no_quantity_is_refused(read: object, text: str) -> None:
    assert callable(read)
    with pytest.raises(Invalid) as refused:
        read(text)
    assert refused.value.code == "quantity_unreadable"


@pytest.mark.parametrize(
    ("shown", "text"),
    [
        (show_rate(1000.0), "8 Mbit/s"),
        (show_rate(31.25), "250 kbit/s"),
        (show_rate(124_990.0), "1 Gbit/s"),
        (show_ms(0.4234), "0.423 ms"),
        (show_ms(999.7), "1 s"),
        (show_bytes(999.7), "1 kB"),
        (show_bytes(3_600_000), "3.6 MB"),
    ],
)
def test_three_figures_are_shown_and_never_a_power_of_ten(shown: str, text: str) -> None:
    assert shown == text
