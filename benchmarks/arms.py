"""The arms: everything that is measured, how each is started, and in which dialect it is asked on each wire."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks import wires
from benchmarks.exchange import Exchange
from benchmarks.models import Subject

HERE = Path(__file__).resolve().parent
OIP = "Open Inference Protocol"
NONE = "no protocol"
BARE = "bare"


@dataclass(frozen=True, slots=True)
class Ports:
    http: int
    grpc: int
    metrics: int


@dataclass(frozen=True, slots=True)
class Arm:
    """One server under test. `command` gets the Python to run it with, the model and the ports to bind."""

    name: str
    title: str
    dialect: str
    wires: Mapping[str, Callable[[Subject], Exchange]]
    command: Callable[[str, Subject, Ports], list[str]]
    environment: str | None = None
    # Prints its bound addresses as one JSON line instead of being told its ports.
    announces: bool = False


def script(name: str, *extra: str) -> Callable[[str, Subject, Ports], list[str]]:
    def command(python: str, subject: Subject, ports: Ports) -> list[str]:
        numbers = [str(ports.http), str(ports.grpc), str(ports.metrics)]
        return [python, str(HERE / name), str(subject.path), *numbers, *extra]

    return command


def littoral_command(python: str, subject: Subject, ports: Ports) -> list[str]:
    command = str(Path(sys.executable).with_name("littoral"))
    return [command, "serve", str(subject.path), "--http-port", "0", "--grpc-port", "0", "--json"]


OIP_HTTP = {"binary": wires.oip_binary, "json": wires.oip_json}
OIP_GRPC = {"grpc": wires.oip_grpc}
RAW = {"binary": wires.raw_binary, "json": wires.flat_json}


def litserve_json(subject: Subject) -> Exchange:
    return wires.flat_json(subject, path="/predict")


ARMS: tuple[Arm, ...] = (
    Arm("bare-asgi", "bare ASGI (uvicorn, httptools)", NONE, RAW, script("bare/asgi.py"), BARE),
    Arm("bare-grpc", "bare grpcio, thread server", NONE, OIP_GRPC, script("bare/grpc_server.py"), BARE),
    Arm("bare-grpc-aio", "bare grpc.aio", NONE, OIP_GRPC, script("bare/grpc_server.py", "aio"), BARE),
    Arm("littoral", "**Littoral**", OIP, {**OIP_HTTP, **OIP_GRPC}, littoral_command, announces=True),
    Arm("fastapi", "FastAPI, 40 lines", NONE, RAW, script("peers/fastapi_server.py"), "fastapi"),
    Arm(
        "triton",
        "Triton (C++), Python backend",
        OIP,
        {**OIP_HTTP, **OIP_GRPC},
        script("peers/triton_server.py"),
        "triton",
    ),
    Arm(
        "triton-batching",
        "Triton, dynamic batching",
        OIP,
        {**OIP_HTTP, **OIP_GRPC},
        script("peers/triton_server.py", "batching"),
        "triton",
    ),
    Arm("kserve", "KServe", OIP, {**OIP_HTTP, **OIP_GRPC}, script("peers/kserve_server.py"), "kserve"),
    Arm(
        "mlserver",
        "MLServer, no pool",
        OIP + ", no binary HTTP",
        {"json": wires.oip_json, **OIP_GRPC},
        script("peers/mlserver_server.py"),
        "mlserver",
    ),
    Arm("litserve", "LitServe", NONE, {"json": litserve_json}, script("peers/litserve_server.py"), "litserve"),
    Arm("bentoml", "BentoML", NONE, {"json": wires.nested_json}, script("peers/bentoml_server.py"), "bentoml"),
)
WIRES = ("binary", "json", "grpc")
PEERS = ("fastapi", "triton", "kserve", "mlserver", "litserve", "bentoml")


def chosen(environments: Collection[str], *, only: Collection[str] | None = None) -> list[Arm]:
    """The arms that need no environment, and those of the environments at hand; `only` narrows to the named arms."""
    unknown = set(only or ()) - {arm.name for arm in ARMS}
    if unknown:
        raise SystemExit(f"no such arm: {', '.join(sorted(unknown))}; there are {', '.join(arm.name for arm in ARMS)}")
    kept = [arm for arm in ARMS if arm.environment is None or arm.environment in environments]
    return kept if only is None else [arm for arm in kept if arm.name in only]


def needed(peers: Collection[str], *, only: Collection[str] | None = None) -> list[str]:
    """The environments to set up for the bare arms and the named peers, or for as many of those as `only` leaves."""
    unknown = set(peers) - set(PEERS)
    if unknown:
        raise SystemExit(f"no such peer: {', '.join(sorted(unknown))}; there are {', '.join(PEERS)}")
    arms = chosen([BARE, *peers], only=only)
    return list(dict.fromkeys(arm.environment for arm in arms if arm.environment is not None))
