"""Profiles kept on disk by what they are of: the model's digest, the engine and the machine; bounded in bytes.

A profile of another machine or engine is never used for this one: it is refused, and the error says what to run.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from littoral.core.errors import Conflict
from littoral.core.ident import digest_bytes
from littoral.model.profile import Profile, read_profile, save_profile

BYTES_MAX = 32 << 20
AGAIN = "Run: littoral profile MODEL --keep"


def default_folder() -> Path:
    """Where profiles are kept unless told otherwise: `$XDG_CACHE_HOME/littoral`, else `~/.cache/littoral`."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "littoral" / "profiles"


class ProfileCache:
    """One folder of profiles, for one machine; the longest unused goes first when it is full."""

    def __init__(self, folder: Path, *, machine: str, bytes_max: int = BYTES_MAX) -> None:
        self.folder = folder
        self._machine = machine
        self._bytes_max = bytes_max

    def find(self, digest: str, *, engine: str) -> Profile | None:
        """The profile of a model with an engine ("onnxruntime 1.2.3"), None where there is none.

        Raises `Conflict` (`profile_foreign`, `profile_stale`) where there are only those of another machine or engine,
        `Corrupt` (`profile_wrong`) for a damaged one.
        """
        path = self._path(digest, engine)
        if path.is_file():
            profile = read_profile(path)
            check_fits(profile, digest=digest, engine=engine, machine=self._machine)
            with suppress(OSError):
                path.touch()
            return profile
        for other in sorted(self.folder.glob(f"{_stem(digest)}-*.json")):
            check_fits(read_profile(other), digest=digest, engine=engine, machine=self._machine)
        return None

    def put(self, profile: Profile) -> None:
        """Keeps a profile; `Unavailable` (`file_unwritable`)."""
        save_profile(profile, self._path(profile.digest, profile.engine))
        kept = sorted(((path.stat().st_mtime, path) for path in self.folder.glob("*.json")), reverse=True)
        taken = 0
        for place, (_, path) in enumerate(kept):
            taken += path.stat().st_size
            if taken > self._bytes_max and place:  # the newest stays, however large it is
                path.unlink(missing_ok=True)

    def _path(self, digest: str, engine: str) -> Path:
        made_on = digest_bytes(f"{engine}|{self._machine}".encode())
        return self.folder / f"{_stem(digest)}-{made_on[7:19]}.json"


def _stem(digest: str) -> str:
    return digest.rpartition(":")[2][:32]


def check_fits(profile: Profile, *, digest: str, engine: str, machine: str) -> None:
    """`Conflict` (`profile_foreign`, `profile_stale`) unless a profile is of this model, engine and machine."""
    if profile.machine != machine:
        how = f"on another machine ({profile.machine}, not {machine})"
        raise Conflict("profile_foreign", f"This profile was measured {how}. {AGAIN}")
    if profile.digest != digest:
        how = f"of another model ({profile.digest[:19]}, not {digest[:19]})"
        raise Conflict("profile_stale", f"This profile was measured {how}. {AGAIN}")
    if profile.engine != engine:
        how = f"with another engine ({profile.engine}, not {engine})"
        raise Conflict("profile_stale", f"This profile was measured {how}. {AGAIN}")
