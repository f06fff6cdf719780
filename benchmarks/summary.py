"""Medians and paired ratios over the JSON lines of one serving run."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from statistics import median
from typing import Any

Line = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Cell:
    """What one arm did with one model on one wire at one concurrency."""

    arm: str
    model: str
    wire: str
    concurrency: int


@dataclass(slots=True)
class Summary:
    """All rounds of one run. A figure is a median over rounds, a ratio the median of the ratios within each round."""

    facts: Line = field(default_factory=dict)
    loads: dict[Cell, dict[int, Line]] = field(default_factory=dict)
    processes: dict[tuple[str, str], list[Line]] = field(default_factory=dict)
    engines: dict[str, list[Line]] = field(default_factory=dict)
    failures: list[Line] = field(default_factory=list)
    titles: dict[str, str] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)

    def load(self, cell: Cell, figure: str) -> float | None:
        values = [line[figure] for line in self.loads.get(cell, {}).values() if is_sound(line)]
        return median(values) if values else None

    def ratio(self, cell: Cell, other: Cell, figure: str) -> float | None:
        """The median over rounds of cell / other, each pair from the same round."""
        ours, theirs = self.loads.get(cell, {}), self.loads.get(other, {})
        pairs = [
            ours[turn][figure] / theirs[turn][figure]
            for turn in ours.keys() & theirs.keys()
            if is_sound(ours[turn]) and is_sound(theirs[turn]) and theirs[turn][figure]
        ]
        return median(pairs) if pairs else None

    def process(self, arm: str, model: str, figure: str) -> float | None:
        values = [line[figure] for line in self.processes.get((arm, model), [])]
        return median(values) if values else None

    def engine(self, model: str, figure: str) -> float | None:
        values = [line[figure] for line in self.engines.get(model, [])]
        return median(values) if values else None

    def other_cpu_share(self) -> float:
        """Cores' worth of work that was neither the server's nor the client's, in the middle of all measurements."""
        values = [line["other_cpu_share"] for each in self.loads.values() for line in each.values()]
        return median(values) if values else 0.0

    def differing(self) -> list[str]:
        """Arms and wires whose answer was not the bare engine's, bit for bit."""
        found = {
            f"{line['arm']} ({line['model']}, {wire})"
            for lines in self.processes.values()
            for line in lines
            for wire, equal in line["equal"].items()
            if not equal
        }
        return sorted(found)

    def unsound(self) -> list[str]:
        """Cells of which at least one round had failed requests or answers too short to hold the numbers."""
        found = {
            f"{cell.arm} ({cell.model}, {cell.wire}, {cell.concurrency})"
            for cell, rounds in self.loads.items()
            for line in rounds.values()
            if not is_sound(line)
        }
        return sorted(found)


def is_sound(line: Line) -> bool:
    """A figure counts only where every request was answered, and with an answer."""
    return bool(line["requests"] and not line["failed"] and not line["answers_are_short"])


def summarise(lines: Iterable[Line]) -> Summary:
    summary = Summary()
    for line in lines:
        match line["kind"]:
            case "run":
                summary.facts = line
            case "load":
                cell = Cell(line["arm"], line["model"], line["wire"], line["concurrency"])
                summary.loads.setdefault(cell, {})[line["round"]] = line
            case "process":
                summary.processes.setdefault((line["arm"], line["model"]), []).append(line)
            case "engine":
                summary.engines.setdefault(line["model"], []).append(line)
            case "failure":
                summary.failures.append(line)
            case "model":
                summary.titles[line["model"]] = line["title"]
            case "peer":
                summary.versions[line["arm"]] = line["version"]
    return summary
