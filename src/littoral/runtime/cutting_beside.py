"""A process of its own that works out where a profiled model may be cut.

    python -m littoral.runtime.cutting_beside PARENT_PID < ORDER > CUTS

That is a tenth of a second of work on a quick machine and seconds on a slow one. On a thread of the server it would
take turns with every request; here it gives way to them.
"""

from __future__ import annotations

import sys

import msgspec

from littoral.model.profile import Profile
from littoral.runtime.beside import end_with, yield_to_all
from littoral.runtime.splits import cuts_of


class Order(msgspec.Struct, frozen=True):
    """Which profile to cut, and the share of answers that a codec must leave as they are."""

    profile: Profile
    agreement_min: float


def main() -> int:
    """One order in, its cuts out."""
    end_with(int(sys.argv[1]))
    yield_to_all()
    order = msgspec.json.decode(sys.stdin.buffer.read(), type=Order)
    sys.stdout.buffer.write(msgspec.json.encode(cuts_of(order.profile, agreement_min=order.agreement_min)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
