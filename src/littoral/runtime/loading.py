"""From a model file to a lane: opened and measured on a thread of its own, within the limit on bytes."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from littoral.core.clock import Clock
from littoral.core.errors import Corrupt, LittoralError, Overloaded
from littoral.core.units import show_bytes
from littoral.model.model import Model
from littoral.model.onnx_file import weight_files
from littoral.model.repository import ModelSource
from littoral.runtime.measure import measure

T = TypeVar("T")
OpenModel = Callable[[ModelSource], Model]

# A loaded model takes about twice its file: the weights once more in the engine's own layout, and room to compute in.
MEMORY_PER_FILE = 2.0


@dataclass(frozen=True, slots=True)
class Opened:
    """An open model and its seconds per run by batch size."""

    model: Model
    points: Mapping[int, float]


def open_measured(source: ModelSource, opener: OpenModel, clock: Clock) -> Opened:
    """Opens and measures; anything but an error of ours becomes `Corrupt` (`model_unreadable`) that names the file."""
    try:
        model = opener(source)
    except LittoralError:
        raise
    except BaseException as error:  # an operator's file is run when it is opened, and may even exit
        raise Corrupt(
            "model_unreadable",
            f"{source.path} cannot be opened: {type(error).__name__}: {str(error)[:300]}. Mend or replace the file.",
            path=str(source.path),
        ) from error
    return Opened(model, measure(model, clock))


def opened_by(opener: Callable[[], Model], clock: Clock) -> Opened:
    """What an opener opens, measured."""
    model = opener()
    return Opened(model, measure(model, clock))


def weigh(path: Path) -> int:
    """Bytes of memory that a model from this file is taken to need; 0 where there is no file to look at."""
    try:
        beside = weight_files(path) if path.suffix.lower() == ".onnx" else ()
        return int(sum(part.stat().st_size for part in (path, *beside)) * MEMORY_PER_FILE)
    except OSError:  # opening the file will say what is wrong with it
        return 0


def check_room(name: str, weight_bytes: int, *, taken_bytes: int, bytes_max: int | None) -> None:
    """`Overloaded` (`models_limit`) where a model does not fit beside those that stay."""
    if bytes_max is None or taken_bytes + weight_bytes <= bytes_max:
        return
    raise Overloaded(
        "models_limit",
        f"Model {name!r} needs about {show_bytes(weight_bytes)} of memory; {show_bytes(taken_bytes)} of "
        f"{show_bytes(bytes_max)} are taken. Unload a model, or raise the limit.",
        model=name,
        needed_bytes=weight_bytes,
        limit_bytes=bytes_max,
    )


async def on_thread(work: Callable[[], T], *, name: str, leftover: Callable[[T], None] | None = None) -> T:
    """Runs `work` on a thread of its own, which ends with it, so that loading never takes a worker from requests.

    Where the waiting task is cancelled the work still ends in its own time; what it made then goes to `leftover`.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def settle(made: T | None, error: BaseException | None) -> None:
        if future.cancelled():
            if error is None and leftover is not None:
                leftover(made)  # type: ignore[arg-type]  # made is a T wherever error is None
        elif error is not None:
            future.set_exception(error)
        else:
            future.set_result(made)  # type: ignore[arg-type]

    def run() -> None:
        made: T | None = None
        failed: BaseException | None = None
        try:
            made = work()
        except BaseException as error:  # noqa: BLE001 - handed to whoever waits
            failed = error
        try:
            loop.call_soon_threadsafe(settle, made, failed)
        except RuntimeError:  # the loop is closed: nobody waits any more
            if failed is None and leftover is not None:
                leftover(made)  # type: ignore[arg-type]

    threading.Thread(target=run, name=name, daemon=True).start()
    return await future
