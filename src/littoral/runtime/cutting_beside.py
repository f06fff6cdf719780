"""A process of its own that works out where a profiled model may be cut.

    python -m littoral.runtime.cutting_beside PARENT_PID < PROFILE > CUTS

That is a tenth of a second of work on a quick machine and seconds on a slow one. On a thread of the server it would
take turns with every request; here it gives way to them.
"""

from __future__ import annotations

import sys

import msgspec

from littoral.model.profile import Profile
from littoral.runtime.beside import end_with, yield_to_all
from littoral.runtime.splits import cuts_of


def main() -> int:
    """One profile in, its cuts out."""
    end_with(int(sys.argv[1]))
    yield_to_all()
    profile = msgspec.json.decode(sys.stdin.buffer.read(), type=Profile)
    sys.stdout.buffer.write(msgspec.json.encode(cuts_of(profile)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
