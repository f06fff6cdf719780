"""Runs a module as a process beside this one: bytes in, bytes out, ended when nobody waits for it any more."""

from __future__ import annotations

import asyncio
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE
from contextlib import suppress

from littoral.core.errors import Corrupt

SAID_BYTES_MAX = 4 << 20


async def run_beside(module: str, given: bytes, *, seconds_max: float) -> tuple[int, bytes]:
    """The exit status and what it said; `Corrupt` (`profile_wrong`) where it takes longer."""
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", module, str(os.getpid()), stdin=PIPE, stdout=PIPE, stderr=DEVNULL, limit=SAID_BYTES_MAX
    )
    try:
        said, _ = await asyncio.wait_for(child.communicate(given), seconds_max)
    except TimeoutError:
        raise Corrupt("profile_wrong", "working it out took too long.") from None
    finally:
        if child.returncode is None:
            with suppress(ProcessLookupError):
                child.kill()
            await child.wait()
    return child.returncode or 0, said
