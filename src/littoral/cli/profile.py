"""`littoral profile`: what a model costs on this machine, block by block, and what its boundaries weigh."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from littoral.cli.options import json_option

if TYPE_CHECKING:
    from littoral.model.profile import Profile


@click.command("profile")
@click.argument("model")
@click.option("--images", metavar="DIR", multiple=True, help="Pictures to measure with. [default: the built-in ones]")
@click.option("--out", metavar="FILE", type=click.Path(path_type=Path), help="Where to write the profile.")
@click.option("--rounds", default=15, show_default=True, type=click.IntRange(5, 1000), help="Measured runs a block.")
@click.option("--keep", is_flag=True, help="Keep it where `littoral serve` looks for it.")
@click.option(
    "--cache", metavar="DIR", type=click.Path(path_type=Path), help="Keep it there. [default: the user's cache]"
)
@json_option
def command(
    *,
    model: str,
    images: tuple[str, ...],
    out: Path | None,
    rounds: int,
    keep: bool,
    cache: Path | None,
    as_json: bool,
) -> None:
    """Time MODEL (an ONNX file, a model's folder or a built-in name) block by block on this machine.

    The profile is what `littoral plan` decides with. It is valid for this file, engine and machine.
    """
    from littoral.cli.pictures import expand, read
    from littoral.cli.places import model_file, open_here
    from littoral.cli.progress import Progress
    from littoral.cli.table import Column, Table
    from littoral.core.units import show_ms
    from littoral.model import builtin
    from littoral.runtime.profiling import SAMPLES_MAX, profile

    loaded, place = open_here(model)
    names = list(expand(images)) or [str(path) for path, _ in builtin.pictures()]
    pictures = [read(name) for name in names[:SAMPLES_MAX]] if loaded.task is not None else []
    with Progress(rounds + 2, "rounds") as progress:
        measured = profile(
            loaded, model_file(place), pictures, rounds=rounds, progress=lambda done, total: progress.step()
        )
    _save(measured, out, cache, keep=keep)
    columns = [
        Column("block", "BLOCK"),
        Column("ms", "TIME ms", right=True, decimals=3),
        Column("spread", "SPREAD %", right=True),
        Column("model_kb", "WEIGHTS kB", right=True),
        Column("tensor", "TENSOR AFTER IT"),
        Column("raw_kb", "RAW kB", right=True),
        Column("best_kb", "PACKED kB", right=True),
        Column("codec", "CODEC"),
    ]
    Table(columns, as_json=as_json).add_all(_rows(measured))
    together = sum(block.ms for block in measured.blocks)
    click.echo(
        f"The whole takes {show_ms(measured.whole_ms)}, its blocks one by one {show_ms(together)}, decoding "
        f"and fitting {show_ms(measured.prepare_ms)}; a request weighs {measured.input_bytes / 1e3:.1f} kB.",
        err=True,
    )
    if not measured.inputs_real:
        click.echo(
            "The inputs were random numbers, as the model takes tensors: sizes and agreement mean little. Give it a "
            "task in a model.toml to measure with pictures.",
            err=True,
        )
    steadiness = "steady" if measured.steady else "UNSTEADY: close other programs and measure again"
    click.echo(f"The measurement is {steadiness} (spread {measured.spread:.1%}).", err=True)


def _save(measured: Profile, out: Path | None, folder: Path | None, *, keep: bool) -> None:
    """Writes a profile to a file, and puts it where a server on this machine finds it, as asked."""
    from littoral.model.profile import save_profile
    from littoral.model.profile_cache import ProfileCache, default_folder

    if out is not None:
        save_profile(measured, out)
        click.echo(f"Wrote {out}.", err=True)
    if keep or folder is not None:
        cache = ProfileCache(folder or default_folder(), machine=measured.machine)
        cache.put(measured)
        click.echo(f"Kept in {cache.folder}.", err=True)


def _rows(measured: Profile) -> list[dict[str, object]]:
    """A row for each block, with the tensor after it and the smallest codec that keeps the answers."""
    rows: list[dict[str, object]] = []
    for index, block in enumerate(measured.blocks):
        row: dict[str, object] = {
            "block": block.name,
            "ms": block.ms,
            "spread": block.spread * 100,
            "model_kb": block.model_bytes / 1e3,
        }
        if index < len(measured.boundaries):
            boundary = measured.boundaries[index]
            fit = [codec for codec, same in boundary.agreement.items() if same >= 0.99]
            codec = min(fit, key=lambda name: boundary.packed_bytes[name], default="raw")
            row |= {
                "tensor": boundary.tensor,
                "raw_kb": boundary.packed_bytes.get("raw", 0.0) / 1e3,
                "best_kb": boundary.packed_bytes.get(codec, 0.0) / 1e3,
                "codec": codec,
            }
        rows.append(row)
    return rows
