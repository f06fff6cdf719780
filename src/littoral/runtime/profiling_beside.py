"""A process of its own that profiles one model while nothing else wants the processor.

    python -m littoral.runtime.profiling_beside PARENT_PID < ORDER > PROFILE

It runs at the lowest priority that the system has, on one thread, so that a server which serves meanwhile loses next to
nothing; and what it needs of memory goes back when it ends. It ends with its parent. The order is one line of JSON,
then the pictures' bytes.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import BinaryIO

import msgspec

from littoral.core.errors import LittoralError
from littoral.model import builtin
from littoral.model.opening import open_model
from littoral.model.profile import Profile
from littoral.model.repository import ModelSource
from littoral.runtime.beside import end_with, yield_to_all
from littoral.runtime.profiling import profile

ROUNDS = 15
FAILED = 1


class Order(msgspec.Struct, frozen=True):
    """Which model to profile; `pictures` are the sizes of those that follow."""

    name: str
    version: str
    path: str
    manifest_path: str | None
    pictures: list[int]


class Failure(msgspec.Struct, frozen=True):
    """Why there is no profile."""

    code: str
    message: str


def write_order(source: ModelSource, pictures: list[bytes]) -> bytes:
    """An order as bytes."""
    manifest = None if source.manifest_path is None else str(source.manifest_path)
    order = Order(source.name, source.version, str(source.path), manifest, [len(one) for one in pictures])
    return b"".join((msgspec.json.encode(order), b"\n", *pictures))


def measure(stream: BinaryIO) -> Profile:
    """The profile that an order asks for.

    Pictures of the project's own stand in where none came: decoding then has a time, but the inputs are not real.
    """
    order = msgspec.json.decode(stream.readline(), type=Order)
    pictures = [stream.read(size) for size in order.pictures]
    manifest = None if order.manifest_path is None else Path(order.manifest_path)
    model = open_model(ModelSource(order.name, order.version, Path(order.path), manifest))
    shown = pictures or [path.read_bytes() for path, _ in builtin.pictures()][:4]
    measured = profile(model, Path(order.path), shown, rounds=ROUNDS)
    return measured if pictures else msgspec.structs.replace(measured, inputs_real=False)


def main() -> int:
    """One order in, one profile out; the exit status is 0 if it was measured."""
    end_with(int(sys.argv[1]))
    yield_to_all()
    try:
        said: Profile | Failure = measure(sys.stdin.buffer)
    except LittoralError as error:
        said = Failure(error.code, error.message)
    sys.stdout.buffer.write(msgspec.json.encode(said))
    return FAILED if isinstance(said, Failure) else 0


if __name__ == "__main__":
    sys.exit(main())
