"""What a process beside a server owes it: it gives way to everybody, and it ends when the server does."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from contextlib import suppress

NICE = 19
_PR_SET_PDEATHSIG = 1


def end_with(parent_pid: int) -> None:
    """From now on this process is killed when its parent ends, however, and also while it is stopped; Linux only.

    A parent that is gone already, before this was asked for, ends it at once.
    """
    if sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:
        os.kill(os.getpid(), signal.SIGKILL)


def yield_to_all() -> None:
    """Gives every other process on this machine the way."""
    with suppress(OSError, AttributeError):
        os.nice(NICE)
    with suppress(OSError, AttributeError):
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
