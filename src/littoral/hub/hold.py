"""A hub's hold on its folder: one process at a time, and where that one can be reached."""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from pathlib import Path

import msgspec

from littoral.core.errors import Unavailable

_LOCK, _RUNNING = "hub.lock", "running.json"


class _Running(msgspec.Struct, frozen=True):
    url: str
    process: int


class Hold:
    """Taken before anything is opened, let go after everything is closed; a process that dies lets go, too."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._descriptor: int | None = None

    def take(self) -> None:
        """`Unavailable` (`hub_runs`) where another process has it."""
        descriptor = os.open(self._folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(descriptor)
            raise Unavailable("hub_runs", f"A hub runs in {self._folder} already. Stop it first.") from error
        self._descriptor = descriptor

    def tell(self, url: str) -> None:
        """Writes down where the hub is reached, for verbs on the same machine."""
        path = self._folder / _RUNNING
        beside = path.with_suffix(".new")
        beside.write_bytes(msgspec.json.encode(_Running(url, os.getpid())))
        beside.replace(path)

    def let_go(self) -> None:
        """Gives the folder back."""
        if self._descriptor is None:
            return
        with suppress(OSError):
            (self._folder / _RUNNING).unlink(missing_ok=True)
        os.close(self._descriptor)
        self._descriptor = None


def running_at(folder: Path) -> str:
    """The URL of the hub that runs in a folder; `Unavailable` (`hub_stopped`) where none does."""
    try:
        return msgspec.json.decode((folder / _RUNNING).read_bytes(), type=_Running).url
    except (OSError, msgspec.MsgspecError) as error:
        raise Unavailable("hub_stopped", f"No hub runs in {folder}. Run: littoral hub run {folder}") from error
