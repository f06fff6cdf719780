"""A folder's new contents, made out of sight in a folder inside it, and moved in when all of it is on the disk.

One of the files says that the contents are whole. It is written last and moved last; so where it stands, all stands,
and where it still lies with the unfinished, all that was moved before it is taken back. Whatever the instant at which
power goes, the next attempt finds one of the two.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from littoral.core.errors import Conflict
from littoral.identity.private_files import make_folder
from littoral.store.disk import RealDisk

NAME = "hub.unfinished"  # nobody else's: what an attempt left in it is thrown away


class Unfinished:
    """What is to become `parts` of a folder, with `last` the part that says that it is whole."""

    def __init__(self, folder: Path, parts: Sequence[str], last: str) -> None:
        self.place = folder / NAME
        self._folder = folder
        self._parts = parts
        self._last = last
        self._disk = RealDisk()

    def take_back(self) -> bool:
        """Brings what an earlier attempt left together again; whether there was one."""
        if not self.place.exists():
            return False
        if (self.place / self._last).exists():
            for part in self._parts:
                if not (self.place / part).exists() and (self._folder / part).exists():
                    self._disk.rename(self._folder / part, self.place / part)
            self._sync()
        return True

    def begin(self) -> None:
        """An empty place; `Conflict` (`hub_exists`) where the folder has one of the parts, and nobody knows why."""
        for part in self._parts:
            if (self._folder / part).exists():
                raise Conflict(
                    "hub_exists",
                    f"{self._folder} has {part} of a hub, and no {self._last}. Put that back, or name another folder.",
                )
        if self.place.exists():
            shutil.rmtree(self.place)
        make_folder(self.place)

    def finish(self) -> None:
        """Moves everything in. What is in place is written by then, `last` included."""
        for folder, _, names in os.walk(self.place, topdown=False):
            for name in names:
                self._disk.sync(Path(folder) / name)
            self._disk.sync_folder(Path(folder))
        for part in self._parts:
            if (self.place / part).exists():
                self._disk.rename(self.place / part, self._folder / part)
        self._sync()
        self._disk.rename(self.place / self._last, self._folder / self._last)
        self._sync()
        shutil.rmtree(self.place)

    def _sync(self) -> None:
        self._disk.sync_folder(self._folder)
        self._disk.sync_folder(self.place)
