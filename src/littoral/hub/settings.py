"""What a hub is told: the file in its folder that `littoral hub init` writes, and what a run may say differently."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from littoral.core.errors import Corrupt, NotFound, Unavailable
from littoral.hub.presence import Rules
from littoral.hub.verbs_demo import Faults
from littoral.identity.private_files import write_private

FILE_NAME = "hub.toml"
PORT = 8443
HTTP_PORT = 8444
GRPC_PORT = 8445
DAY_S = 86_400.0


class HubFile(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """The keys of `hub.toml`. `database` "" is SQLite in the folder; `hosts` are names that people reach it by."""

    domain: str
    name: str = "hub"
    database: str = ""
    hosts: list[str] = []
    hot_days: float = 7.0
    cold_folder: str = "cold"
    blobs_gb_max: float = 50.0


@dataclass(frozen=True, slots=True)
class HubSettings:
    """A hub's folder and file, and where it listens; a port of 0 takes any free one, None leaves a door closed.

    `mqtt` is a broker's URL, for sites that have nothing else. `watch_every_s` is how often sites are judged and open
    pages told. `faults` is there in a demo only.
    """

    folder: Path
    file: HubFile
    host: str = "127.0.0.1"
    port: int = PORT
    http_port: int | None = HTTP_PORT
    grpc_port: int | None = GRPC_PORT
    serve_all: bool = True
    mqtt: str = field(default="", repr=False)
    models_bytes_max: int | None = None
    presence: Rules = field(default_factory=Rules)
    trace: bool = False
    watch_every_s: float = 1.0
    grace_s: float = 5.0
    faults: Faults | None = None

    @property
    def database(self) -> str:
        """The database's URL."""
        return self.file.database or f"sqlite:///{self.folder / 'hub.db'}"

    @property
    def cold_folder(self) -> Path:
        """Where old events go."""
        return self.folder / self.file.cold_folder  # an absolute path stays what it is

    @property
    def hot_s(self) -> float:
        """How long events stay in the database."""
        return self.file.hot_days * DAY_S


def write_file(folder: Path, file: HubFile) -> None:
    """Stores a hub's file for its owner's eyes: a database's URL may hold a password."""
    lines = [f"{name} = {_toml(value)}" for name, value in msgspec.structs.asdict(file).items()]
    write_private(folder / FILE_NAME, ("\n".join(lines) + "\n").encode())


def read_file(folder: Path) -> HubFile:
    """A hub's file; `NotFound` (`hub_missing`) where there is none, `Corrupt` (`hub_file_wrong`)."""
    path = folder / FILE_NAME
    try:
        return msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), HubFile)
    except FileNotFoundError as error:
        raise NotFound("hub_missing", f"{folder} holds no hub. Make one: littoral hub init {folder}") from error
    except OSError as error:
        raise Unavailable("file_unreadable", f"{path} cannot be read: {error.strerror}.", path=str(path)) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError) as error:
        raise Corrupt("hub_file_wrong", f"{path} cannot be read: {error}. Mend it.", path=str(path)) from error


def _toml(value: Any) -> str:
    # JSON's texts, numbers and lists of texts are TOML's, too.
    return msgspec.json.encode(value).decode()
