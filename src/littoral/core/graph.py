"""A workload: an immutable graph of operators, checked when it is built.

An operator is a block of a model or a stage of a pipeline. A tensor is made by one operator and read by one or more; it
crosses a link at most once however many read it there. A gate is an operator that answers now or sends on. Where each
operator runs is not part of the workload: that is a plan.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter

from littoral.core.errors import Invalid

INPUT = "input"


@dataclass(frozen=True, slots=True)
class Operator:
    """One step of a workload.

    `memory_bytes` is what it needs to be loaded on a site. `stays` keeps it, for ever, on the site where requests
    arrive.
    """

    name: str
    memory_bytes: int = 0
    stays: bool = False


@dataclass(frozen=True, slots=True)
class Gate(Operator):
    """An operator after which only a share of the requests goes on; the others are answered by it.

    `pass_rate` is that measured share, from 0 (nothing goes on) to 1. What lies behind the gate is used in expectation.
    """

    pass_rate: float = 1.0


@dataclass(frozen=True, slots=True)
class Edge:
    """A tensor on its way from the operator that makes it to those that read it.

    `source` may be `INPUT`: the request itself, which arrives at the first site. `size_bytes` is its size as it would
    cross a link, after the best codec. `durable`: its crossing goes through the outbox and costs the request nothing.
    `stays`: it may not leave the site where requests arrive.
    """

    source: str
    targets: tuple[str, ...]
    size_bytes: float
    durable: bool = False
    stays: bool = False


@dataclass(frozen=True, slots=True)
class Workload:
    """Operators and the tensors between them, in an order in which they can run.

    `answer_bytes` is the size of what goes back to the caller. Raises `Invalid` when built from an illegal graph:
    `graph_empty`, `graph_name`, `graph_duplicate`, `graph_unknown`, `graph_circle`, `graph_unfed`, `graph_size`,
    `graph_rate`, `graph_edge`.
    """

    operators: tuple[Operator, ...]
    edges: tuple[Edge, ...]
    answer_bytes: float = 0.0
    _weights: Mapping[str, float] = field(init=False, repr=False, compare=False, default_factory=dict)
    _sent: Mapping[str, float] = field(init=False, repr=False, compare=False, default_factory=dict)

    def __post_init__(self) -> None:
        _check_operators(self.operators)
        _check_edges(self.edges, {operator.name for operator in self.operators})
        if not 0 <= self.answer_bytes < float("inf"):
            raise Invalid("graph_size", "The answer's size must be a finite number of bytes from 0.")
        order = _order(self.operators, self.edges)
        by_name = {operator.name: operator for operator in self.operators}
        object.__setattr__(self, "operators", tuple(by_name[name] for name in order))
        weights, sent = _weights(self.operators, self.edges)
        object.__setattr__(self, "_weights", weights)
        object.__setattr__(self, "_sent", sent)

    @property
    def ends_at_home(self) -> bool:
        """Whether the last steps stay where requests arrive, so that no separate answer travels back."""
        read_from = {edge.source for edge in self.edges}
        return all(operator.stays for operator in self.operators if operator.name not in read_from)

    def weight(self, name: str) -> float:
        """The share of requests that reaches an operator, or `INPUT` (always 1)."""
        return self._weights[name]

    def sent(self, name: str) -> float:
        """The share of requests whose tensors leave an operator: its weight, times its pass rate if it is a gate."""
        return self._sent[name]


def chain(operators: Iterable[Operator], sizes_bytes: Iterable[float], *, answer_bytes: float = 0.0) -> Workload:
    """A workload of operators one after another; `sizes_bytes[i]` is the tensor before operator i."""
    steps = tuple(operators)
    names = (INPUT, *(step.name for step in steps))
    sizes = tuple(sizes_bytes)
    if len(sizes) != len(steps):
        raise Invalid("graph_size", f"{len(steps)} operators need {len(steps)} sizes; {len(sizes)} came.")
    edges = tuple(Edge(names[i], (names[i + 1],), sizes[i]) for i in range(len(steps)))
    return Workload(steps, edges, answer_bytes=answer_bytes)


def _pass_rate(operator: Operator) -> float:
    return operator.pass_rate if isinstance(operator, Gate) else 1.0


def _check_operators(operators: tuple[Operator, ...]) -> None:
    if not operators:
        raise Invalid("graph_empty", "A workload needs at least one operator.")
    seen: set[str] = set()
    for operator in operators:
        if not operator.name or operator.name == INPUT:
            raise Invalid("graph_name", f"An operator cannot be named {operator.name!r}.")
        if operator.name in seen:
            raise Invalid("graph_duplicate", f"Two operators are named {operator.name!r}. Give each its own name.")
        seen.add(operator.name)
        if operator.memory_bytes < 0:
            raise Invalid("graph_size", f"Operator {operator.name!r} has a negative size in memory.")
        if isinstance(operator, Gate) and not 0.0 <= operator.pass_rate <= 1.0:
            raise Invalid(
                "graph_rate", f"Gate {operator.name!r} needs a pass rate from 0 to 1, not {operator.pass_rate}."
            )


def _check_edges(edges: tuple[Edge, ...], names: set[str]) -> None:
    for edge in edges:
        if not edge.targets or len(set(edge.targets)) != len(edge.targets):
            raise Invalid("graph_edge", f"An edge from {edge.source!r} needs targets, each named once.")
        for name in (edge.source, *edge.targets):
            if name not in names and not (name == INPUT and name == edge.source):
                raise Invalid("graph_unknown", f"An edge names {name!r}, which is no operator of this workload.")
        if not 0 <= edge.size_bytes < float("inf"):
            raise Invalid("graph_size", f"The tensor from {edge.source!r} needs a finite size in bytes from 0.")


def _order(operators: tuple[Operator, ...], edges: tuple[Edge, ...]) -> tuple[str, ...]:
    """Names so that each comes after all it reads from."""
    before: dict[str, set[str]] = {operator.name: set() for operator in operators}
    for edge in edges:
        for target in edge.targets:
            before[target].add(edge.source)
    unfed = [name for name, sources in before.items() if not sources]
    if unfed:
        raise Invalid(
            "graph_unfed", f"Nothing feeds operator {unfed[0]!r}. Give it an edge, from {INPUT!r} if it is first."
        )
    try:
        return tuple(name for name in TopologicalSorter(before).static_order() if name != INPUT)
    except CycleError as error:
        raise Invalid("graph_circle", f"These operators wait for each other: {' > '.join(error.args[1])}.") from None


def _weights(operators: tuple[Operator, ...], edges: tuple[Edge, ...]) -> tuple[dict[str, float], dict[str, float]]:
    """The shares of requests that reach and that leave each operator; where ways meet, the likeliest counts."""
    weights = {INPUT: 1.0}
    sent = {INPUT: 1.0}
    feeding: dict[str, list[str]] = {}
    for edge in edges:
        for target in edge.targets:
            feeding.setdefault(target, []).append(edge.source)
    for operator in operators:
        weights[operator.name] = max(sent[source] for source in feeding[operator.name])
        sent[operator.name] = weights[operator.name] * _pass_rate(operator)
    return weights, sent
