"""What a model costs on this machine, block by block as executed, and what its boundaries weigh on a link.

Each block is a model of its own with its fusions. All are run in turn, round after round, so that a machine that
changes speed changes it for all; medians count. A profile is valid for one model digest, one engine and one machine.
"""

from __future__ import annotations

import platform
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median, quantiles
from typing import Annotated

import msgspec
import numpy as np

from littoral.core.errors import Conflict, Corrupt, Invalid, Unavailable
from littoral.core.ident import digest_bytes, digest_file
from littoral.core.tensor import Array, TensorSpec, datatype_of
from littoral.model.blocks import Blocks, find_blocks
from littoral.model.engine import Engine, EngineOptions
from littoral.model.files import write_whole
from littoral.model.onnx import open_onnx
from littoral.model.onnx_graph import read_graph

FORMAT = 1
ROUNDS = 15
SPREAD_STEADY_MAX = 0.15  # interquartile range over median: above this a measurement is called unsteady


Measured = Annotated[float, msgspec.Meta(ge=0)]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]


class BlockProfile(msgspec.Struct, frozen=True):
    """One block: its median time and spread on this machine, and the bytes of its part of the model."""

    name: str
    ms: Measured
    spread: Measured
    model_bytes: Annotated[int, msgspec.Meta(ge=0)]


class BoundaryProfile(msgspec.Struct, frozen=True):
    """What crosses between two blocks: bytes, packing and unpacking time, and the answer's agreement, by codec.

    `agreement` is the share of inputs whose answer is the same after the crossing as without it.
    """

    tensor: str
    datatype: str
    shape: list[int]
    packed_bytes: dict[str, Measured]
    pack_ms: dict[str, Measured]
    agreement: dict[str, Share]


class Profile(msgspec.Struct, frozen=True):
    """One model on one machine, on a day (ISO date, "" where unknown).

    `whole_ms` is the uncut model; `inputs_real`: the inputs were real ones.
    """

    format: int
    digest: str
    engine: str
    machine: str
    blocks: Annotated[list[BlockProfile], msgspec.Meta(min_length=1)]
    boundaries: list[BoundaryProfile]
    whole_ms: Measured
    prepare_ms: Measured
    input_bytes: Measured
    answer_bytes: Measured
    inputs_real: bool
    spread: Measured
    measured_on: str = ""

    @property
    def steady(self) -> bool:
        """Whether the measurement can be trusted to a few per cent."""
        return self.spread <= SPREAD_STEADY_MAX


Codec = tuple[str, Callable[[Array], bytes], Callable[[bytes], Array]]
Same = Callable[[Sequence[Array], Sequence[Array]], bool]


def machine_name() -> str:
    """What decides how fast a model runs here: the processor and the system, as one digest-like word."""
    facts = [platform.machine(), platform.system(), platform.processor()]
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        facts += sorted({line for line in lines if line.startswith(("model name", "Hardware", "Model"))})
    except OSError:
        facts.append(platform.platform())
    return f"{platform.machine()}-{digest_bytes('|'.join(facts).encode())[7:19]}"


def profile_model(
    path: Path,
    samples: Sequence[Array],
    *,
    codecs: Sequence[Codec],
    input_bytes: float,
    answer_bytes: float | None = None,
    prepare_ms: float = 0.0,
    inputs_real: bool = True,
    same: Same | None = None,
    rounds: int = ROUNDS,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Profile:
    """Measures an ONNX model with one input; `samples` are ready inputs for it, each with its batch axis.

    `input_bytes` is what one request weighs on a link (the compressed picture), `answer_bytes` what its answer does
    (default: the raw outputs), `prepare_ms` what decoding and fitting takes. `same` tells whether two rows of outputs
    mean the same answer (default: `same_greatest`). Raises what reading and cutting raise, and
    `Invalid` (`profile_impossible`) for several inputs.
    """
    graph = read_graph(path)
    if len(graph.inputs) != 1 or not samples:
        raise Invalid("profile_impossible", f"{path} has {len(graph.inputs)} inputs; profiling needs one, and samples.")
    blocks = find_blocks(graph)
    engines, specs, values = _open_blocks(blocks, samples[0])
    whole = open_onnx(path, EngineOptions())
    try:
        times = _time_in_turn([*engines, whole], [*values, samples[0]], rounds, progress)
        boundaries = [
            _boundary(blocks, index, specs[index + 1], samples, codecs, same_answer=same or same_greatest)
            for index in range(len(blocks.cuts))
        ]
        answer = whole.run([samples[0]], tuple(range(len(whole.outputs))))
    finally:
        for engine in (*engines, whole):
            engine.close()
    return Profile(
        format=FORMAT,
        digest=digest_file(path),
        engine=f"onnxruntime {whole.facts.get('onnxruntime', '')}".strip(),
        machine=machine_name(),
        blocks=[
            BlockProfile(name, median(row), _spread(row), len(blocks.block(index, specs[index])))
            for index, (name, row) in enumerate(zip(blocks.names(), times[:-1], strict=True))
        ],
        boundaries=boundaries,
        whole_ms=median(times[-1]),
        prepare_ms=prepare_ms,
        input_bytes=input_bytes,
        answer_bytes=float(sum(array.nbytes for array in answer)) if answer_bytes is None else answer_bytes,
        inputs_real=inputs_real,
        spread=_spread(times[-1]),
        measured_on=time.strftime("%Y-%m-%d"),
    )


def open_part(content: bytes, options: EngineOptions | None = None) -> Engine:
    """An engine for a part of a model that is not on disk."""
    with tempfile.TemporaryDirectory(prefix="littoral-part-") as folder:
        path = Path(folder, "part.onnx")
        path.write_bytes(content)
        return open_onnx(path, options or EngineOptions())


def _open_blocks(blocks: Blocks, sample: Array) -> tuple[list[Engine], list[TensorSpec | None], list[Array]]:
    """Every block as an engine, what it takes, and a value to feed it with."""
    engines: list[Engine] = []
    specs: list[TensorSpec | None] = [None]
    values = [sample]
    for index in range(blocks.count):
        engine = open_part(blocks.block(index, specs[index]))
        engines.append(engine)
        if index < len(blocks.cuts):
            value = engine.run([values[index]], (0,))[0]
            values.append(value)
            specs.append(TensorSpec(blocks.cuts[index].tensor, datatype_of(value.dtype), (-1, *value.shape[1:])))
    return engines, specs, values


def _time_in_turn(
    engines: Sequence[Engine], values: Sequence[Array], rounds: int, progress: Callable[[int, int], None]
) -> list[list[float]]:
    """Milliseconds of each engine in each round; the first two rounds warm up and are left out."""
    times: list[list[float]] = [[] for _ in engines]
    for turn in range(rounds + 2):
        for index, (engine, value) in enumerate(zip(engines, values, strict=True)):
            wanted = tuple(range(len(engine.outputs)))
            started = time.perf_counter()
            engine.run([value], wanted)
            if turn >= 2:
                times[index].append((time.perf_counter() - started) * 1000)
        progress(turn + 1, rounds + 2)
    return times


def _boundary(
    blocks: Blocks,
    index: int,
    spec: TensorSpec | None,
    samples: Sequence[Array],
    codecs: Sequence[Codec],
    *,
    same_answer: Same,
) -> BoundaryProfile:
    """Sizes, times and agreement of each codec at one cut, over all samples."""
    assert spec is not None, "every boundary has a tensor"
    cut = blocks.cuts[index]
    head = open_part(blocks.head(cut))
    tail = open_part(blocks.tail(cut, spec))
    every = tuple(range(len(tail.outputs)))
    sizes: dict[str, list[float]] = {}
    took: dict[str, list[float]] = {}
    agreed: dict[str, list[bool]] = {}
    for sample in samples:
        crossing = head.run([sample], (0,))[0]
        true = tail.run([crossing], every)
        for name, pack, unpack in codecs:
            started = time.perf_counter()
            try:
                packed = pack(crossing)
            except Invalid:  # a codec that does not fit this tensor is no candidate here
                continue
            arrived = unpack(packed)
            took.setdefault(name, []).append((time.perf_counter() - started) * 1000)
            sizes.setdefault(name, []).append(float(len(packed)))
            agreed.setdefault(name, []).append(same_answer(tail.run([arrived], every), true))
    head.close()
    tail.close()
    complete = [name for name, found in sizes.items() if len(found) == len(samples)]
    return BoundaryProfile(
        tensor=cut.tensor,
        datatype=spec.datatype,
        shape=list(spec.shape),
        packed_bytes={name: float(np.mean(sizes[name])) for name in complete},
        pack_ms={name: median(took[name]) for name in complete},
        agreement={name: sum(agreed[name]) / len(samples) for name in complete},
    )


def same_greatest(one: Sequence[Array], other: Sequence[Array]) -> bool:
    """Whether the greatest element of the first output lies in the same place."""
    return int(np.argmax(one[0])) == int(np.argmax(other[0]))


def _spread(times: Sequence[float]) -> float:
    """Interquartile range over median."""
    low, middle, high = quantiles(times, n=4)
    return (high - low) / middle if middle else 0.0


def save_profile(profile: Profile, path: Path) -> None:
    """Writes a profile as JSON, whole or not at all; `Unavailable` (`file_unwritable`)."""
    write_whole(path, msgspec.json.format(msgspec.json.encode(profile), indent=1))


def read_profile(path: Path) -> Profile:
    """A profile from a file; `Corrupt` (`profile_wrong`) for one that is damaged or of another format."""
    try:
        profile = msgspec.json.decode(path.read_bytes(), type=Profile)
    except OSError as error:
        raise Unavailable("file_unreadable", f"{path} cannot be read: {error.strerror}.", path=str(path)) from error
    except msgspec.DecodeError as error:
        raise Corrupt(
            "profile_wrong", f"{path} is no profile: {error}. Run: littoral profile MODEL --out FILE"
        ) from error
    if profile.format != FORMAT:
        raise Corrupt("profile_wrong", f"{path} has format {profile.format}. Run: littoral profile MODEL --out FILE")
    if len(profile.boundaries) != len(profile.blocks) - 1 or not all(map(_complete, profile.boundaries)):
        raise Corrupt(
            "profile_wrong", f"{path}: blocks and boundaries do not match. Run: littoral profile MODEL --out FILE"
        )
    return profile


def _complete(boundary: BoundaryProfile) -> bool:
    """Whether every codec has its size, time and agreement, and raw is one of them."""
    codecs = boundary.packed_bytes.keys()
    return "raw" in codecs and codecs == boundary.pack_ms.keys() == boundary.agreement.keys()


def slowed(profile: Profile, factor: float) -> Profile:
    """The profile of a machine that takes `factor` times as long for everything: a guess, until it is measured."""
    if factor == 1.0:
        return profile
    return msgspec.structs.replace(
        profile,
        blocks=[msgspec.structs.replace(block, ms=block.ms * factor) for block in profile.blocks],
        boundaries=[
            msgspec.structs.replace(one, pack_ms={codec: ms * factor for codec, ms in one.pack_ms.items()})
            for one in profile.boundaries
        ],
        whole_ms=profile.whole_ms * factor,
        prepare_ms=profile.prepare_ms * factor,
    )


def check_same_model(profiles: Mapping[str, Profile]) -> None:
    """`Conflict` (`digest_differs`) unless all profiles, by site, are of one and the same model."""
    digests = {profile.digest for profile in profiles.values()}
    if len(digests) > 1:
        raise Conflict(
            "digest_differs",
            "These profiles are of different models: "
            + ", ".join(f"{site} {profile.digest[:19]}" for site, profile in profiles.items())
            + ". Profile the same file on each site.",
        )
