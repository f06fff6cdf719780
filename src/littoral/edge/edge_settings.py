"""What an edge is told before it starts, beside what any node is told."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from littoral.edge.settings import Bounds

HUB_HTTP_PORT = 8444
OUTBOX = "outbox"  # in a site's folder


@dataclass(frozen=True, slots=True)
class EdgeSettings:
    """One site's folder, its doors, and what it tells the hub.

    `paths` are models of the site's own, served beside those that the hub assigns. `upstreams` are servers to ask where
    that is better (none named: the hub, at port 8444; None: nobody). `hub_mqtt` is the broker that leads to the hub
    where nothing else does; then none named is nobody. `results_share` of the answers become events,
    all where they are `results_durable`. One answer in `explain_every_s` seconds has its placement's reasons with it,
    and with `pictures` a small copy of what was asked, unless it `stays`. Every `telemetry_every_s` seconds the machine
    is told of, and every `report_every_s` the hub hears that the site is there. One call in `drift_every_s` seconds is
    watched for drift (None: none is). `outbox_bytes_max` and `blobs_bytes_max` bound the disk.
    `metered` says when the link is paid by the byte ("always", "07:00-19:00"), so that what may wait does.
    """

    folder: Path
    paths: tuple[Path, ...] = ()
    host: str = "127.0.0.1"
    http_port: int | None = 8000
    grpc_port: int | None = 8001
    threads: int | None = None
    workers: int | None = None
    models_bytes_max: int | None = None
    api_key_file: Path | None = None
    hub: str = ""
    hub_mqtt: str = field(default="", repr=False)
    upstreams: tuple[str, ...] | None = ()
    bounds: Bounds = field(default_factory=Bounds)
    mqtt: str = field(default="", repr=False)
    results_share: float = 1.0
    results_durable: bool = False
    explain_every_s: float = 10.0
    pictures: bool = False
    telemetry_every_s: float = 60.0
    report_every_s: float = 10.0
    drift_every_s: float | None = 1.0
    outbox_bytes_max: int | None = None
    blobs_bytes_max: int = 4_000_000_000
    trace: bool = False
    metered: str = "never"
    grace_s: float = 10.0
