"""The placement tables: every arm over all settings, by link and slow-down, by deadline, and sockets beside replay."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from benchmarks.markdown import figure, source, table

Line = dict[str, Any]
ORACLE_MAX, UNDER_STATIC_MIN, WINDOW_MAX, ON_TIME_MIN, BYTES_SAVED_MIN = 1.05, 0.25, 1.02, 0.999, 0.60
NAMES = {
    "edge": "edge only",
    "cloud": "cloud, with the JPEG",
    "split": "best fixed split (computed)",
    "fixed cascade": "best fixed cascade",
    "last sample": "last sample (told the rate for nothing)",
    "littoral": "**Littoral**",
    "littoral, bounded": "**Littoral**, escalation bounded",
    "told before": "told run times, and the rate at the request before",
    "told now": "told run times, and the rate of this instant",
    "oracle": "clairvoyant oracle",
}
TOLD = ("told before", "told now")
HEADS = ("arm", "mean ms", "p50", "p99", "on time", "accuracy", "kB up a request", "plans")


def render(lines: Iterable[Line]) -> str:
    kept = list(lines)
    facts = next(line for line in kept if line["kind"] == "run")
    parts = [_set_up(next(line for line in kept if line["kind"] == "set-up"))]
    for case in dict.fromkeys(line["case"] for line in kept if line["kind"] == "all"):
        parts.append(f"**Replay, {case}**, all settings together:")
        parts.append(table(HEADS, [_row(line) for line in _of(kept, "all", case)]))
        judged = [line for line in kept if line["kind"] in ("verdict", "again") and line["case"] == case]
        parts.append(_verdicts(judged))
        parts.append(f"Mean milliseconds by link and slow-down of the edge ({case}):")
        parts.append(_grid(_of(kept, "links", case), lambda line: f"{line['link']}, edge x{line['slowdown']:g}"))
        parts.append(f"Share answered in time, by deadline ({case}):")
        parts.append(_grid(_of(kept, "deadlines", case), lambda line: f"{line['deadline_ms']:g} ms", "on_time"))
    sockets = [line for line in kept if line["kind"] == "sockets"]
    if sockets:
        parts.append("**Real sockets** beside the replay of the same requests (mean milliseconds):")
        parts.append(_sockets(sockets))
    return "\n\n".join([*parts, source(facts)])


def _set_up(line: Line) -> str:
    trips = ", ".join(f"{name} {ms:g} ms" for name, ms in line["round_trips_ms"].items())
    return (
        f"Little model {line['little_ms']:.1f} ms and {line['little_accuracy']:.1%} right, big model "
        f"{line['big_ms']:.1f} ms and {line['big_accuracy']:.1%} right, on this machine, decoding included; "
        f"{line['pictures']} pictures of {line['picture_kb']:.0f} kB on average; about two requests a second. Round "
        f"trips (assumed, traces hold none): {trips}. The cascade promises at most {line['loss_max']:.0%} loss and "
        f"escalates {line['pass_rate']:.0%} at its cheapest threshold; bounded means at most "
        f"{line['escalation_max']:.0%}. A request without an answer in time counts with its whole deadline, in every "
        "arm; the runtime refuses what would probably be late, while the edge-only arm always tries. Accuracy is of "
        "what was answered in time, local answers in place of late ones included."
    )


def _of(kept: Sequence[Line], kind: str, case: str) -> list[Line]:
    order = list(NAMES)
    found = [line for line in kept if line["kind"] == kind and line["case"] == case]
    return sorted(found, key=lambda line: order.index(line["arm"]))


def _row(line: Line) -> list[str]:
    total = sum(line["plans"].values())
    plans = ", ".join(f"{name} {count / total:.0%}" for name, count in line["plans"].items() if count / total >= 0.005)
    return [
        NAMES[line["arm"]],
        figure(line["mean_ms"], ".1f"),
        figure(line["p50_ms"], ".0f"),
        figure(line["p99_ms"], ".0f"),
        figure(line["on_time"], ".2%"),
        figure(line["accuracy"], ".1%"),
        figure(line["kb_up"], ".1f"),
        plans.replace("none", "late"),
    ]


def _grid(lines: Sequence[Line], label: Any, name: str = "mean_ms") -> str:
    arms = [arm for arm in dict.fromkeys(line["arm"] for line in lines) if arm not in TOLD]
    rows: dict[str, dict[str, Line]] = {}
    for line in lines:
        rows.setdefault(label(line), {})[line["arm"]] = line
    form = ".1f" if name == "mean_ms" else ".1%"
    body = [[at, *(figure(found[arm][name], form) for arm in arms)] for at, found in rows.items()]
    return table(("", *(NAMES[arm] for arm in arms)), body)


def _verdicts(lines: Sequence[Line]) -> str:
    rows = []
    again = [line for line in lines if line["kind"] == "again"]
    lines = [line for line in lines if line["kind"] == "verdict"]
    told = [line for line in lines if line["arm"] in TOLD]
    for line in lines:
        if line in told or line["arm"] == "last sample":
            continue
        name = NAMES[line["arm"]]
        over = line["over_oracle"]
        static = f"under the best static arm ({NAMES[line['best_static']]})"
        checks = [
            ("mean / oracle's mean", f"<= {ORACLE_MAX}", f"{over:.3f}", over <= ORACLE_MAX),
            (static, f">= {UNDER_STATIC_MIN:.0%}", f"{line['under_static']:.1%}", _enough(line)),
            (
                f"worst of {line['windows']} windows of 60 s / the better of the two ({line['windows_over']:.1%} over)",
                f"<= {WINDOW_MAX}",
                f"{line['window_worst']:.2f}",
                line["window_worst"] <= WINDOW_MAX,
            ),
            (
                f"on time where edge only is ({line['feasible']} settings)",
                f">= {ON_TIME_MIN:.1%}",
                f"{line['on_time']:.3%}",
                line["on_time"] >= ON_TIME_MIN,
            ),
        ]
        if line["case"] == "little here, big there":
            saved = line["bytes_saved"]
            what = f"loss against the big model, answers that nothing degraded ({line['degraded']:.0%} were)"
            checks.append((what, f"<= {line['loss_max']:.0%}", f"{line['loss']:.1%}", line["loss"] <= line["loss_max"]))
            checks.append(("bytes under the JPEG cloud", f">= {BYTES_SAVED_MIN:.0%}", f"{saved:.0%}", saved >= 0.6))
        rows += [[f"{name}: {what}", bound, value, "met" if met else "missed"] for what, bound, value, met in checks]
    rows += [_other_orders(again)] if again else []
    rows += [_attainable(line) for line in told]
    ceiling = 1 - (1 - lines[0]["under_static"]) / lines[0]["over_oracle"]
    note = f"The oracle itself is {ceiling:.1%} under that static arm: no chooser can be more."
    return table(("", "target", "measured", "verdict"), rows) + "\n\n" + note


def _other_orders(lines: Sequence[Line]) -> list[str]:
    """The windows when the pictures come in other orders, with other scatter: whether the first order was luck."""
    windows, worst = sum(line["windows"] for line in lines), max(line["window_worst"] for line in lines)
    over = sum(line["windows_over"] * line["windows"] for line in lines) / windows
    what = f"the same over {len(lines)} other orders of the pictures: worst of {windows} windows ({over:.2%} over)"
    return [
        f"{NAMES['littoral']}: {what}",
        f"<= {WINDOW_MAX}",
        f"{worst:.2f}",
        "met" if worst <= WINDOW_MAX else "missed",
    ]


def _attainable(line: Line) -> list[str]:
    """What a chooser that asks one place at a time comes to when it is told what no chooser can know by itself."""
    what = f"mean / oracle's mean; worst of the windows ({line['windows_over']:.1%} over)"
    bounds = f"<= {ORACLE_MAX}; <= {WINDOW_MAX}"
    met = line["over_oracle"] <= ORACLE_MAX and line["window_worst"] <= WINDOW_MAX
    measured = f"{line['over_oracle']:.3f}; {line['window_worst']:.2f}"
    return [f"{NAMES[line['arm']]}: {what}", bounds, measured, "met" if met else "missed"]


def _enough(line: Line) -> bool:
    return bool(line["under_static"] >= UNDER_STATIC_MIN)


def _sockets(lines: Sequence[Line]) -> str:
    rows = []
    for line in lines:
        case = "cascade" if line["cascade"] else "same model"
        rows.append(
            [
                f"{line['link']}, edge x{line['slowdown']:g}, {line['deadline_ms']:g} ms, {case}: {line['arm']}",
                figure(line["requests"]),
                figure(line["mean_ms"], ".1f"),
                figure(line["replayed_ms"], ".1f"),
                figure(100 * (line["mean_ms"] / line["replayed_ms"] - 1), "+.0f") + " %",
                figure(line["on_time"], ".1%"),
            ]
        )
    return table(("setting: arm", "requests", "sockets", "replay", "difference", "on time"), rows)
