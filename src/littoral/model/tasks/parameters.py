"""A request's parameters, read as numbers within bounds."""

from __future__ import annotations

from littoral.core.errors import Invalid
from littoral.core.request import Parameters


def whole_number(parameters: Parameters, name: str, default: int, *, greatest: int) -> int:
    """Parameter `name` as a whole number from 1, cut to `greatest`; `Invalid` (`parameter_wrong`) for anything else."""
    value = parameters.get(name, default)
    if isinstance(value, bool | str) or value != value // 1 or value < 1:
        raise Invalid("parameter_wrong", f"Parameter {name!r} must be a whole number from 1.", parameter=name)
    return min(int(value), greatest)


def fraction(parameters: Parameters, name: str, default: float) -> float:
    """Parameter `name` as a number from 0 to 1; `Invalid` (`parameter_wrong`) for anything else."""
    value = parameters.get(name, default)
    if isinstance(value, bool | str) or not 0 <= value <= 1:
        raise Invalid("parameter_wrong", f"Parameter {name!r} must be a number from 0 to 1.", parameter=name)
    return float(value)
