"""Reads the documents and the source for what must agree: runnable blocks, error codes, verbs and flags."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from littoral.core.errors import KINDS

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src" / "littoral"

_BLOCK = re.compile(
    r"<!-- run(?:: (?P<beside>server))? -->\s*\n```(?P<language>\w+)\n(?P<text>.*?)\n```"
    r"(?:\s*\n<!-- prints -->\s*\n```text\n(?P<prints>.*?)\n```)?",
    re.DOTALL,
)
_FENCE = re.compile(r"^```(?P<language>\w+)\n(?P<text>.*?)^```", re.DOTALL | re.MULTILINE)
_ROW = re.compile(r"^\| `(?P<code>[a-z0-9_]+)` \| (?P<kinds>[A-Za-z, ]+) \|", re.MULTILINE)
_KIND_NAMES = frozenset(kind.__name__ for kind in KINDS)


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block that a document promises to work: `beside_server` says that it talks to one.

    `prints` is what the document shows as its output, in a block after `<!-- prints -->`; None where it shows none.
    """

    place: str
    language: str
    text: str
    beside_server: bool
    prints: str | None = None


@dataclass(frozen=True, slots=True)
class Raised:
    """A place in the source where an error code is written; `kind` is "" where it is decided elsewhere."""

    code: str
    kind: str
    place: str


def blocks(document: Path) -> list[Block]:
    """The blocks of a document that follow a line `<!-- run -->` or `<!-- run: server -->`."""
    text = document.read_text(encoding="utf-8")
    return [
        Block(
            f"{document.name}:{text.count(chr(10), 0, found.start()) + 1}",
            found["language"],
            found["text"],
            found["beside"] is not None,
            found["prints"],
        )
        for found in _BLOCK.finditer(text)
    ]


def fenced(document: Path, language: str) -> list[str]:
    """The texts of a document's fenced blocks in one language."""
    text = document.read_text(encoding="utf-8")
    return [found["text"] for found in _FENCE.finditer(text) if found["language"] == language]


def tables(text: str) -> list[list[list[str]]]:
    """The Markdown tables of a text, as rows of cells without the head and the rule; code marks are kept."""
    found: list[list[list[str]]] = []
    for part in re.split(r"\n(?!\|)", text):
        rows = [line for line in part.splitlines() if line.startswith("|")]
        if len(rows) > 2:
            found.append([[cell.strip() for cell in row.strip("|").split(" | ")] for row in rows[2:]])
    return found


def raised_codes(package: Path = SOURCE) -> list[Raised]:
    """Every error code that the source writes down."""
    found: list[Raised] = []
    for path in sorted(package.rglob("*.py")):
        if not path.name.endswith("_pb2.py"):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            found += codes_of(tree, str(path.relative_to(package)))
    return found


def codes_of(tree: ast.Module, name: str) -> Iterator[Raised]:
    """The codes in one module: first arguments of the eight kinds, arguments and defaults that are called `code`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            called = getattr(node.func, "id", getattr(node.func, "attr", ""))
            if called in _KIND_NAMES and node.args:
                for code in _words(node.args[0]):
                    yield Raised(code, called, f"{name}:{node.lineno}")
            for keyword in node.keywords:
                if keyword.arg == "code":
                    for code in _words(keyword.value):
                        yield Raised(code, "", f"{name}:{node.lineno}")
        elif isinstance(node, ast.FunctionDef):
            taken = node.args.posonlyargs + node.args.args
            given = list(zip(taken[len(taken) - len(node.args.defaults) :], node.args.defaults, strict=True))
            named = zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)
            given += [(one, value) for one, value in named if value is not None]
            for one, value in given:
                if one.arg == "code":
                    for code in _words(value):
                        yield Raised(code, "", f"{name}:{node.lineno}")


def documented_codes(document: Path) -> dict[str, set[str]]:
    """Code > kinds, as the table of `docs/errors.md` has them."""
    text = document.read_text(encoding="utf-8")
    return {row["code"]: {kind.strip() for kind in row["kinds"].split(",")} for row in _ROW.finditer(text)}


def sections(document: Path, *, level: int = 2) -> dict[str, str]:
    """Heading of one level > the text below it, up to the next heading of that level."""
    parts = re.split(rf"^{'#' * level} (.+)$", document.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {heading.strip(" `"): text for heading, text in zip(parts[1::2], parts[2::2], strict=True)}


def _words(expression: ast.expr) -> Iterator[str]:
    """The words that an expression may be: a constant, either side of `a if x else b`, each of `a or b`."""
    if isinstance(expression, ast.Constant) and isinstance(expression.value, str) and expression.value:
        yield expression.value
    elif isinstance(expression, ast.IfExp):
        yield from _words(expression.body)
        yield from _words(expression.orelse)
    elif isinstance(expression, ast.BoolOp):
        for value in expression.values:
            yield from _words(value)
