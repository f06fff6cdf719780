"""`littoral split`: writes a model's head and tail, and proves that together they are the whole."""

from __future__ import annotations

from pathlib import Path

import click

from littoral.cli.options import json_option


@click.command("split")
@click.argument("model")
@click.option("--at", "at", required=True, metavar="BLOCK", help="Cut after this block (b3), or at a tensor's name.")
@click.option(
    "--out", required=True, metavar="DIR", type=click.Path(path_type=Path), help="Where to write both halves."
)
@click.option("--images", metavar="DIR", multiple=True, help="Pictures to prove it with. [default: the built-in ones]")
@json_option
def command(*, model: str, at: str, out: Path, images: tuple[str, ...], as_json: bool) -> None:
    """Cut MODEL (ONNX) after a block into head.onnx and tail.onnx.

    Both halves are run one after the other and held against the whole, through every codec.
    """
    from littoral.cli.pictures import expand, read
    from littoral.cli.places import model_file, open_here
    from littoral.cli.table import Column, Table
    from littoral.model import builtin
    from littoral.runtime.splitting import prove_split

    loaded, place = open_here(model)
    names = list(expand(images)) or [str(path) for path, _ in builtin.pictures()]
    pictures = [read(name) for name in names[:8]] if loaded.task is not None else []
    proof = prove_split(loaded, model_file(place), at, out, pictures)
    columns = [
        Column("codec", "CODEC"),
        Column("crossing_kb", "CROSSING kB", right=True),
        Column("difference", "DIFFERENCE", right=True, decimals=7),
        Column("agreement", "SAME ANSWER %", right=True),
    ]
    Table(columns, as_json=as_json).add_all(
        [
            {
                "codec": row.codec,
                "crossing_kb": row.packed_bytes / 1e3,
                "difference": row.difference,
                "agreement": row.agreement * 100,
            }
            for row in proof.rows
        ]
    )
    click.echo(f"Wrote {proof.head} and {proof.tail}, cut at {proof.tensor}.", err=True)
