"""Why one picture was answered where it was: the candidate plans with their terms, as the node saw them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from littoral.cli.table import Column, Table

if TYPE_CHECKING:
    from littoral.serve.client.answer import Prediction


def explanation_of(outcome: Prediction) -> dict[str, Any]:
    """What the node told; where it has no choice to explain, its one plan with what that took."""
    import msgspec

    told = outcome.parameters.get("explanation")
    if isinstance(told, str):
        found: dict[str, Any] = msgspec.json.decode(told)
        return found
    terms = {
        name: float(outcome.parameters[key])
        for name, key in (("wait here", "queue_ms"), ("compute here", "compute_ms"))
        if key in outcome.parameters
    } or {"compute here": round(outcome.latency_ms, 3)}
    cost_ms = round(sum(terms.values()), 3)
    return {"candidates": [{"plan": "local", "cost_ms": cost_ms, "chosen": True, "terms": terms}]}


def print_explanation(explanation: dict[str, Any]) -> None:
    """The candidates as a table, the winner marked, cheapest terms last."""
    columns = [
        Column("chosen", ""),
        Column("plan", "PLAN"),
        Column("upstream", "UPSTREAM"),
        Column("cost_ms", "COST ms", right=True),
        Column("careful_ms", "CAREFUL ms", right=True),
        Column("note", "NOTE"),
        Column("terms", "TERMS ms"),
    ]
    Table(columns, as_json=False).add_all([_row(candidate) for candidate in explanation["candidates"]])


def _row(candidate: dict[str, Any]) -> dict[str, object]:
    terms = sorted(candidate.get("terms", {}).items(), key=lambda term: -float(term[1]))
    return {
        **candidate,
        "chosen": "->" if candidate["chosen"] else "",
        "terms": ", ".join(f"{name} {cost:.3g}" for name, cost in terms if cost),
        "note": _note(candidate),
    }


def _note(candidate: dict[str, Any]) -> str:
    if candidate.get("down"):
        return "down"
    said = ""
    if candidate.get("in_time") is False:
        said = "too late"
    elif "escalates" in candidate:
        said = f"{candidate['escalates']:.0%} go up"
    codec = candidate.get("codec", "")
    return ", ".join(word for word in (said, codec and f"as {codec}") if word)
