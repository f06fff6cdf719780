"""Footprint benchmark: the size of the core as pip leaves it and after use, its wheel, and `import littoral`.

    python benchmarks/footprint.py --out FILE.jsonl

Memory, cold start and idle processor use of a running server are part of `serving.py`.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import facts, table
from benchmarks.lines import lines_to

# A fresh environment holds pip before anything is installed; it is not ours to count.
NOT_COUNTED = ("pip", "setuptools", "_distutils_hack", "distutils-precedence", "pkg_resources")
IMPORTS = 9
LARGEST = 8


def size_of(path: Path, pattern: str = "*") -> int:
    """Bytes of the files below `path` whose names match `pattern`; links count nothing."""
    files = [path] if path.is_file() else path.rglob(pattern)
    return sum(each.stat().st_size for each in files if each.is_file() and not each.is_symlink())


def build_wheel(folder: Path) -> Path:
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(folder), str(facts.ROOT)]
    subprocess.run(command, check=True)
    return next(folder.glob("*.whl"))


def install(folder: Path, wheel: Path, *flags: str) -> Path:
    """A fresh environment with the wheel and what it needs; the folder of its packages."""
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    subprocess.run([str(folder / "bin" / "python"), "-m", "pip", "install", "-q", *flags, str(wheel)], check=True)
    return next((folder / "lib").glob("python*/site-packages"))


def ours(packages: Path) -> list[Path]:
    """What was installed beside what a fresh environment has."""
    return [each for each in packages.iterdir() if not each.name.startswith(NOT_COUNTED)]


def megabytes(entries: list[Path], pattern: str = "*") -> float:
    return sum(size_of(each, pattern) for each in entries) / 1e6


def sizes_by_use(folder: Path, wheel: Path) -> dict[str, float]:
    """Sizes of a core that pip did not compile: as installed, and after a demonstration served pictures with it."""
    packages = install(folder, wheel, "--no-compile")
    fresh_mb = megabytes(ours(packages))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    subprocess.run([str(folder / "bin" / "littoral"), "demo"], check=True, stdout=subprocess.DEVNULL, env=environment)
    return {"uncompiled_mb": fresh_mb, "used_mb": megabytes(ours(packages))}


def seconds_of(python: Path, code: str) -> float:
    began = time.perf_counter()
    subprocess.run([str(python), "-c", code], check=True)
    return time.perf_counter() - began


def import_ms(python: Path) -> float:
    """The least time that `import littoral` adds to starting Python, of several alternating runs."""
    pairs = [(seconds_of(python, "import littoral"), seconds_of(python, "pass")) for _ in range(IMPORTS)]
    return 1e3 * (min(ours for ours, _ in pairs) - min(bare for _, bare in pairs))


def main(words: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="write the JSON lines here instead of to standard output")
    arguments = parser.parse_args(words)
    with tempfile.TemporaryDirectory(prefix="littoral-footprint-") as folder, lines_to(arguments.out) as lines:
        lines.write(**facts.run_facts("footprint", words))
        wheel = build_wheel(Path(folder))
        packages = install(Path(folder) / "environment", wheel)
        entries = ours(packages)
        sizes = sorted(((size_of(each), each) for each in entries), reverse=True)
        for size, each in sizes[:LARGEST]:
            lines.write(kind="package", name=each.name, size_mb=size / 1e6, bytecode_mb=megabytes([each], "*.pyc"))
        lines.write(
            kind="footprint",
            installed_mb=megabytes(entries),
            bytecode_mb=megabytes([each for each in entries if each.is_dir()], "*.pyc"),
            **sizes_by_use(Path(folder) / "uncompiled", wheel),
            distributions=sum(each.name.endswith(".dist-info") for each in entries),
            wheel_mb=wheel.stat().st_size / 1e6,
            import_ms=import_ms(Path(folder) / "environment" / "bin" / "python"),
        )
    print(table.render(lines.kept))


if __name__ == "__main__":
    main(sys.argv[1:])
