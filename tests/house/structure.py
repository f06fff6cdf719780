"""Reads the package as text: which module imports which, how long files and functions are, what each says first."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "src" / "littoral"

FLOORS: dict[str, int] = {
    "core": 1,
    "plan": 2,
    "store": 2,
    "identity": 2,
    "monitor": 2,
    "net": 3,
    "model": 3,
    "runtime": 4,
    "fleet": 4,
    "stream": 5,
    "serve": 5,
    "optimize": 5,
    "federated": 5,
    "edge": 6,
    "hub": 6,
    "cli": 7,
}


@dataclass(frozen=True, slots=True)
class Module:
    """One source file of the package, parsed."""

    path: Path
    name: str
    tree: ast.Module

    @property
    def room(self) -> str:
        """The package's first level: "core", "plan", …; "" for the face."""
        parts = self.name.split(".")
        return parts[1] if len(parts) > 1 else ""


def modules(package: Path = PACKAGE) -> tuple[Module, ...]:
    """Every hand-written module; generated protocol code is left out."""
    found = []
    for path in sorted(package.rglob("*.py")):
        if path.name.endswith("_pb2.py"):
            continue
        parts = ("littoral", *path.relative_to(package).with_suffix("").parts)
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found.append(Module(path, name, ast.parse(path.read_text(encoding="utf-8"))))
    return tuple(found)


def imports(module: Module) -> Iterator[str]:
    """Every `littoral…` name a module imports, wherever the import stands (functions and TYPE_CHECKING count)."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] == "littoral":
                    yield alias.name
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module.name}: imports are written in full, not relative"
            if node.module and node.module.split(".")[0] == "littoral":
                for alias in node.names:
                    yield f"{node.module}.{alias.name}"


def module_graph(found: tuple[Module, ...]) -> dict[str, set[str]]:
    """Module name -> the package's modules it imports."""
    names = {module.name for module in found}
    graph: dict[str, set[str]] = {}
    for module in found:
        targets = set()
        for name in imports(module):
            target = name if name in names else name.rpartition(".")[0]
            if target in names and target != module.name:
                targets.add(target)
        graph[module.name] = targets
    return graph


def functions(module: Module) -> Iterator[tuple[str, int]]:
    """Each function's name and its length in lines, docstring included."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name, (node.end_lineno or node.lineno) - node.lineno + 1
