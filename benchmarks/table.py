"""Draws a results file as Markdown tables, and puts them into a document between the marks that bear its name.

python benchmarks/table.py benchmarks/results/serving.jsonl
python benchmarks/table.py benchmarks/results/serving.jsonl --into README.md
python benchmarks/table.py benchmarks/results/serving.jsonl --into README.md --check
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import (
    choosing_table,
    delivery_crashes_table,
    delivery_idle_table,
    delivery_ingest_table,
    delivery_link_table,
    delivery_puts_table,
    delivery_sites_table,
    footprint_table,
    grpc_servers_table,
    http_servers_table,
    overload_table,
    packing_table,
    page_table,
    placement_table,
    promise_table,
    serving_table,
    splits_table,
    voyages_table,
)
from benchmarks.lines import read

Line = dict[str, Any]
RENDERERS: dict[str, Callable[[Iterable[Line]], str]] = {
    "serving": serving_table.render,
    "overload": overload_table.render,
    "footprint": footprint_table.render,
    "grpc_servers": grpc_servers_table.render,
    "http_servers": http_servers_table.render,
    "choosing": choosing_table.render,
    "delivery_link": delivery_link_table.render,
    "promise": promise_table.render,
    "placement": placement_table.render,
    "splits": splits_table.render,
    "packing": packing_table.render,
    "delivery_crashes": delivery_crashes_table.render,
    "delivery_idle": delivery_idle_table.render,
    "delivery_ingest": delivery_ingest_table.render,
    "delivery_puts": delivery_puts_table.render,
    "delivery_sites": delivery_sites_table.render,
    "page": page_table.render,
    "voyages": voyages_table.render,
}


def benchmark_of(lines: list[Line]) -> str:
    """The name that the file's first line, its facts, gives."""
    return str(next(line["benchmark"] for line in lines if line["kind"] == "run"))


def render(lines: list[Line]) -> str:
    return RENDERERS[benchmark_of(lines)](lines)


def marks(name: str) -> tuple[str, str]:
    return f"<!-- benchmark:{name} -->", f"<!-- /benchmark:{name} -->"


def placed(document: str, name: str, block: str) -> str:
    """The document with the text between the marks of `name` replaced; ValueError where the marks are missing."""
    begin, end = marks(name)
    head, found, rest = document.partition(begin)
    _, found_end, tail = rest.partition(end)
    if not found or not found_end:
        raise ValueError(f"the document has no {begin} ... {end}")
    return f"{head}{begin}\n{block.strip()}\n{end}{tail}"


def main(words: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--into", type=Path, help="replace the block between the document's marks")
    parser.add_argument("--check", action="store_true", help="with --into: write nothing, end with 1 where it differs")
    arguments = parser.parse_args(words)
    lines = read(arguments.file)
    block = render(lines)
    if arguments.into is None:
        print(block)
        return 0
    before = arguments.into.read_text()
    after = placed(before, arguments.file.stem, block)
    if arguments.check:
        return int(before != after)
    arguments.into.write_text(after)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
