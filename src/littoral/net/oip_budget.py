"""The time a request still has, from the parameters that the protocol's callers send along."""

from __future__ import annotations

import math

from littoral.core.errors import Invalid
from littoral.core.request import Parameters


def budget_of(parameters: Parameters, budget_ms: float | None = None) -> float | None:
    """The smallest of `budget_ms` (what the call itself has left), `deadline_ms`, and `timeout` in microseconds.

    None where nobody set a limit; `Invalid` (`parameter_wrong`) where one is not a number from 0.
    """
    least = budget_ms
    if "deadline_ms" in parameters:
        asked = _amount(parameters, "deadline_ms")
        least = asked if least is None else min(asked, least)
    if "timeout" in parameters:
        timeout_us = _amount(parameters, "timeout")
        if timeout_us:  # the protocol's extension: 0 means none
            asked = timeout_us / 1000.0
            least = asked if least is None else min(asked, least)
    return least


def _amount(parameters: Parameters, name: str) -> float:
    value = parameters[name]
    if isinstance(value, bool | str) or not math.isfinite(value) or value < 0:
        raise Invalid("parameter_wrong", f"Parameter {name!r} must be a number from 0.", parameter=name)
    return float(value)
