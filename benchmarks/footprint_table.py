"""The footprint table: installed size by package, wheel, import time."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from benchmarks.markdown import source, table

INSTALLED_MB_MAX = 165.0
IMPORT_MS_MAX = 60.0


def render(lines: Iterable[dict[str, Any]]) -> str:
    kept = list(lines)
    facts = next(line for line in kept if line["kind"] == "run")
    whole = next(line for line in kept if line["kind"] == "footprint")
    largest = ", ".join(
        f"{line['name']} {line['size_mb']:.1f} ({line['bytecode_mb']:.1f})"
        for line in kept
        if line["kind"] == "package"
    )
    rows = [
        ["installed core, as pip leaves it", f"<= {INSTALLED_MB_MAX:g} MB", f"{whole['installed_mb']:.1f} MB"],
        ["installed with `--no-compile`, after use", f"<= {INSTALLED_MB_MAX:g} MB", f"{whole['used_mb']:.1f} MB"],
        ["`import littoral`", f"<= {IMPORT_MS_MAX:g} ms", f"{whole['import_ms']:.1f} ms"],
    ]
    verdicts = [
        whole["installed_mb"] <= INSTALLED_MB_MAX,
        whole["used_mb"] <= INSTALLED_MB_MAX,
        whole["import_ms"] <= IMPORT_MS_MAX,
    ]
    marked = [[*row, "met" if met else "missed"] for row, met in zip(rows, verdicts, strict=True)]
    summary = (
        f"Of what pip leaves, {whole['bytecode_mb']:.1f} MB are byte code that it compiles of every file; without it "
        f"there are {whole['uncompiled_mb']:.1f} MB, and Python adds what it uses. {whole['distributions']} "
        f"distributions; wheel {whole['wheel_mb']:.2f} MB; largest folders in MB (of that byte code): {largest}."
    )
    return "\n\n".join([table(("Littoral", "target", "measured", "verdict"), marked), summary, source(facts)])
