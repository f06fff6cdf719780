"""How often somebody may try to join or to log in: a bucket for each, one for all together, in bounded memory."""

from __future__ import annotations

import ipaddress
import math
from collections import OrderedDict
from dataclasses import dataclass

from littoral.core.errors import Overloaded


@dataclass(frozen=True, slots=True)
class Rate:
    """Tries at once, and how many come back each second."""

    burst: float
    per_s: float


ONE = Rate(burst=5, per_s=1 / 30)
ALL = Rate(burst=40, per_s=10)


class Attempts:
    """Counts tries, each under a few keys (the caller's network, the name it tries). Not for several threads at once.

    The bucket for all bounds the work that guessing makes, and keeps a crowd of keys from pushing one out of memory
    before it has earned its next try.
    """

    def __init__(self, *, one: Rate = ONE, everybody: Rate = ALL, keys_max: int = 10_000) -> None:
        self._one = one
        self._everybody = everybody
        self._keys_max = keys_max
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._all = (everybody.burst, -math.inf)

    def __len__(self) -> int:
        return len(self._left)

    def take(self, keys: tuple[str, ...], now_s: float) -> None:
        """Counts one try, or raises `Overloaded` (`attempts_exceeded`) with when to come back, and counts nothing.

        `now_s` is monotonic.
        """
        everybody = _filled(self._all, self._everybody, now_s)
        ones = [_filled(self._left.get(key, (self._one.burst, now_s)), self._one, now_s) for key in keys]
        waits = [_wait_s(left, self._one) for left in ones] + [_wait_s(everybody, self._everybody)]
        if max(waits) > 0:
            raise Overloaded(
                "attempts_exceeded",
                "There were too many attempts. Wait, then try again.",
                retry_after_ms=math.ceil(max(waits) * 1000),
            )
        self._all = (everybody - 1, now_s)
        for key, left in zip(keys, ones, strict=True):
            self._left[key] = (left - 1, now_s)
            self._left.move_to_end(key)
        while len(self._left) > self._keys_max:
            self._left.popitem(last=False)

    def forgive(self, keys: tuple[str, ...]) -> None:
        """Forgets the tries under these keys, since the last one was good."""
        for key in keys:
            self._left.pop(key, None)


def network_of(address: str) -> str:
    """Whom an address counts as: itself, or with IPv6 its /64, of which one caller has all addresses."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return "unknown"
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is not None:
            return str(found.ipv4_mapped)
        return str(ipaddress.ip_network((int(found), 64), strict=False))
    return str(found)


def _filled(bucket: tuple[float, float], rate: Rate, now_s: float) -> float:
    left, at_s = bucket
    return min(rate.burst, left + max(0.0, now_s - at_s) * rate.per_s)


def _wait_s(left: float, rate: Rate) -> float:
    return max(0.0, (1 - left) / rate.per_s)
