"""What a node is told before it starts."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from littoral.core.request import InferAnswer
from littoral.model import builtin
from littoral.model.function import PythonOperator
from littoral.monitor.tracing import Tracing
from littoral.runtime.crossing import AGREEMENT_MIN
from littoral.serve.client.tls import SYSTEM, ClientTls
from littoral.serve.dataplane import Observer
from littoral.serve.tls import Tls


def default_site() -> str:
    """The machine's name, in the letters that a site's name may have."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", socket.gethostname()).strip("-._")
    return name[:128] or "edge"


@dataclass(frozen=True, slots=True)
class Bounds:
    """What may go up: a share of all requests, bytes an hour (None: no bound), a share of confident answers.

    `stand_by`: whether a run here may begin beside a call whenever nobody wants the core; else only one in twenty may.
    `agreement_min`: the share of answers that packing an input smaller for a link must leave as they are.
    """

    escalation_share: float = 1.0
    upload_bytes_per_hour: float | None = None
    audit_share: float = 0.005
    stand_by: bool = True
    agreement_min: float = AGREEMENT_MIN


@dataclass(frozen=True, slots=True)
class NodeSettings:
    """Which models, which doors, how much of the machine.

    `paths` are model files, models' folders and repositories; without one (and without `operators`) the built-in models
    are served. A port of 0 takes any free one, None leaves the door closed. `threads` are an engine's threads of one
    run where the manifest does not say; `workers` are runs at a time (None: as many as fit the cores).
    `upstreams` are servers that may be asked, within `bounds`, each a URL, or several addresses of it with commas
    between; `upstream_key` is what they are shown, over `upstream_tls` where they are `https` or `grpcs`.
    `cache` is the folder where models' profiles are kept (None: the user's cache); a node profiles its models where it
    has upstreams or was told a `cache`. `on_correction` is called with each answer that an upstream gives too late, on
    the node's loop; it returns at once.
    `tracing` makes spans of what requests go through; it is closed with the node.
    One call in `drift_every_s` seconds is watched for drift (None: none is).
    `observer` is told of every answer before its caller is. `may_be_empty` starts without a model, too.
    `api_key_file` closes the doors to whoever shows no key that is in it. `tls` makes them speak TLS 1.3; `tls_peers`
    are the SPIFFE ids that may then connect (None: whomever TLS lets through).
    """

    paths: tuple[Path, ...] = ()
    operators: tuple[PythonOperator, ...] = ()
    host: str = "127.0.0.1"
    http_port: int | None = 8000
    grpc_port: int | None = 8001
    threads: int | None = None
    workers: int | None = None
    models_bytes_max: int | None = None
    api_key_file: Path | None = None
    tls: Tls | None = None
    tls_peers: frozenset[str] | None = None
    upstreams: tuple[str, ...] = ()
    upstream_key: str | None = None
    upstream_tls: ClientTls = SYSTEM
    bounds: Bounds = field(default_factory=Bounds)
    on_correction: Callable[[InferAnswer], None] | None = None
    cache: Path | None = None
    observer: Observer | None = None
    drift_every_s: float | None = 1.0
    tracing: Tracing | None = None
    may_be_empty: bool = False
    site: str = field(default_factory=default_site)
    grace_s: float = 10.0

    @property
    def profiles(self) -> bool:
        """Whether models are profiled in the background."""
        return bool(self.upstreams) or self.cache is not None

    @property
    def builtin(self) -> bool:
        """Whether nothing was named, so that the built-in models are served."""
        return not self.paths and not self.operators

    @property
    def model_paths(self) -> tuple[Path, ...]:
        """The paths to serve from."""
        return (builtin.path(),) if self.builtin else self.paths
