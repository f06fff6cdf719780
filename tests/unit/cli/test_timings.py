"""Quantiles by nearest rank."""

from __future__ import annotations

import pytest

from littoral.cli.timings import quantile


@pytest.mark.parametrize(
    ("share", "value"), [(0.0, 1), (0.01, 1), (0.5, 50), (0.501, 51), (0.99, 99), (0.999, 100), (1.0, 100)]
)
def test_a_quantile_is_the_smallest_value_that_so_many_do_not_exceed(share: float, value: int) -> None:
    assert quantile([float(number) for number in range(100, 0, -1)], share) == value


def test_nothing_measured_is_zero_and_one_value_is_every_quantile() -> None:
    assert quantile([], 0.5) == 0
    assert quantile([7.0], 0.01) == quantile([7.0], 0.99) == 7
