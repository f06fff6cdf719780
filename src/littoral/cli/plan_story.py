"""Why a plan was chosen, in sentences: what it costs, by how much it wins, how far that holds, what was left out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from math import inf

from littoral.cli.plan_case import Case, Costs, best_split, place_name
from littoral.core.units import show_bytes, show_ms, show_rate
from littoral.model.profile import Profile
from littoral.plan.outlook import is_split
from littoral.plan.sweep import BYTES_PER_MBIT_MS, RATES_MBIT_S, ROUND_TRIPS_MS
from littoral.plan.table import HYSTERESIS, Choice
from littoral.runtime.placing import CUTS_MAX

LEFT_OUT_SHOWN_MAX = 8


def story(case: Case, choice: Choice, costs: Sequence[Costs]) -> list[str]:
    """All sentences, in the order in which they are read."""
    winner = next(one for one in costs if one.plan is choice.plan)
    return [
        *_lateness(case, choice, winner, costs),
        _win(case, winner),
        *_lead(case, choice, winner, costs),
        *(_held(case, link) for link in range(len(case.links))),
        *_splits(case, winner, costs),
        *_left_out(case),
        *_cautions(case),
    ]


def _lateness(case: Case, choice: Choice, winner: Costs, costs: Sequence[Costs]) -> Iterator[str]:
    deadline_ms = case.outlook.deadline_ms
    if deadline_ms == inf:
        return
    if choice.late:
        over = show_ms(winner.total_ms - deadline_ms)
        yield f"No plan meets the deadline of {show_ms(deadline_ms)}; this is the quickest, {over} late."
    late = sum(one.total_ms > deadline_ms for one in costs)
    yield (
        f"{late or 'None'} of {len(costs)} plans {'is' if late == 1 else 'are'} late, which is judged by usual costs. "
        "How far a link strays from that is known only where it is measured; leave room."
    )


def _win(case: Case, winner: Costs) -> str:
    """What the winner costs, and what that consists of."""
    if case.objective == "throughput":
        return f"{winner.plan.name} wins with {_figure(case, winner)} at most: {_busiest(case, winner)} is busiest."
    if case.objective == "bytes":
        return f"{winner.plan.name} wins: {_figure(case, winner)}; {show_ms(winner.total_ms)} in all."
    parts = [(what, ms) for what, ms in _parts(winner) if ms >= 0.01 * winner.total_ms]
    terms = ", ".join(f"{show_ms(ms)} {what}" for what, ms in parts) if len(parts) > 1 else f"all {parts[0][0]}"
    if case.objective == "energy":
        return f"{winner.plan.name} wins: {_figure(case, winner)}; {show_ms(winner.total_ms)} in all ({terms})."
    of_which = ", of which" if len(parts) > 1 else ","
    return f"{winner.plan.name} wins: {_figure(case, winner)} in all{of_which} {terms}."


def _lead(case: Case, choice: Choice, winner: Costs, costs: Sequence[Costs]) -> Iterator[str]:
    """The runner-up, by how much it lost and why."""
    second = case.outlook.runner_up(case.world, choice)
    if second is None:
        yield "There is no other place for the work within the limits."
        return
    other = costs[second]
    gain = _gain(case, winner, other)
    name = other.plan.name
    if gain < 0 and is_split(other.plan):
        yield (
            f"{name} would be {-gain:.1%} better ({_figure(case, other)}), but a split must gain "
            f"{HYSTERESIS:.0%} to be worth keeping the model at two places."
        )
        return
    sentence = f"The runner-up is {name}: {_figure(case, other)}; the winner is {_apart(gain)}."
    if other.total_ms > case.outlook.deadline_ms:
        sentence = f"The runner-up, {name}, is late: {show_ms(other.total_ms)}."
    yield f"{sentence}{_difference(winner, other) if case.objective == 'latency' else ''}"


def _difference(winner: Costs, other: Costs) -> str:
    """Where the winner saves most against the other, and where it pays most."""
    mine, theirs = dict(_parts(winner)), dict(_parts(other))
    saved = {what: theirs.get(what, 0.0) - mine.get(what, 0.0) for what in {**mine, **theirs}}
    most, least = max(saved, key=lambda what: saved[what]), min(saved, key=lambda what: saved[what])
    if saved[most] <= 0:
        return ""
    pays = f", and pays {show_ms(-saved[least])} more {least}" if saved[least] < 0 else ""
    return f" The winner saves {show_ms(saved[most])} {most}{pays}."


def _parts(one: Costs) -> list[tuple[str, float]]:
    """The terms in words, dearest first."""
    parts = [(f"of work at {site}", ms) for site, ms in one.compute_ms.items()]
    for link in one.up_ms:
        parts.append((f"on the way up {link}", one.up_ms[link]))
        parts.append((f"on the way down {link}", one.down_ms[link]))
        parts.append((f"for the round trip {link}", one.trips_ms[link]))
    parts.append(("of waiting", one.wait_ms))
    return sorted(((what, ms) for what, ms in parts if ms > 0), key=lambda part: -part[1])


def _busiest(case: Case, one: Costs) -> str:
    """The resource that bounds a plan's throughput."""
    busy = {f"the work at {site}": ms for site, ms in one.compute_ms.items()}
    for link in case.links:
        busy |= {f"the way up {link}": one.up_ms[link], f"the way down {link}": one.down_ms[link]}
    return max(busy, key=lambda what: busy[what])


def _figure(case: Case, one: Costs) -> str:
    """What the objective counts, for one plan."""
    if case.objective == "throughput":
        return f"{one.requests_per_s:.3g} requests a second"
    if case.objective == "energy":
        return f"{one.joules * 1000:.3g} mJ a request"
    if case.objective == "bytes":
        return f"{show_bytes(one.link_bytes)} a request on the links"
    return show_ms(one.total_ms)


def _gain(case: Case, winner: Costs, other: Costs) -> float:
    """By which share of the other's figure the winner is better."""
    if case.objective == "throughput":
        return 1.0 - other.requests_per_s / winner.requests_per_s if winner.requests_per_s else 0.0
    mine, theirs = winner.score, other.score
    return (theirs - mine) / theirs if theirs else 0.0


def _apart(gain: float) -> str:
    """A gain in words."""
    if gain >= 0.5:
        return "far better" if gain >= 1.0 else f"{1 / (1 - gain):.1f} times better"
    return f"{abs(gain):.1%} {'better' if gain >= 0 else 'worse'}"


def _held(case: Case, link: int) -> str:
    """Over which rates and round trips of one link the work stays where it is."""
    here = case.world.links[link]
    rates = case.outlook.rates_held(case.world, link)
    trips = case.outlook.round_trips_held(case.world, link)
    asked = f"{show_rate(here.up_bytes_per_ms)} and {show_ms(here.round_trip_ms)}"
    name = case.links[link]
    rate_words = _between(rates, lambda rate: show_rate(rate * BYTES_PER_MBIT_MS)) or "at any rate"
    trip_words = f"round trips {_between(trips, show_ms)}" if trips != (0.0, inf) else "any round trip"
    return f"On {name} (asked: {asked}) it holds {rate_words} with this round trip, and with {trip_words} at this rate."


def _between(held: tuple[float, float], show: Callable[[float], str]) -> str:
    """A range in words; "" for one without ends."""
    low, high = held
    if low <= 0:
        return "" if high == inf else f"up to {show(high)}"
    return f"from {show(low)} up" if high == inf else f"from {show(low)} to {show(high)}"


def _splits(case: Case, winner: Costs, costs: Sequence[Costs]) -> Iterator[str]:
    """Plainly: whether a split was considered, and whether it pays."""
    best = best_split(case, costs)
    if best is None:
        yield "No split was considered: the model is one block, or the limits leave no cut."
        return
    if is_split(winner.plan):
        simple = [one for one in costs if not is_split(one.plan)]
        if simple:
            other = min(simple, key=lambda one: one.score)
            yield (
                f"The split pays: it is {_gain(case, winner, other):.1%} better than the best plan without one, "
                f"{other.plan.name} ({_figure(case, other)})."
            )
        return
    yield (
        f"Splits were considered and do not pay here: the best one, {best.plan.name}, gives {_figure(case, best)}; "
        f"the winner is {_apart(_gain(case, winner, best))}."
    )
    rates = f"{RATES_MBIT_S[0]:g} to {RATES_MBIT_S[-1]:g} Mbit/s"
    where = f"from {rates} and {ROUND_TRIPS_MS[0]:g} to {ROUND_TRIPS_MS[-1]:g} ms"
    if not any(is_split(one.plan) for one in costs if one.plan is not case.extra):
        yield f"No cut that the limits allow wins anywhere {where}, so none is offered; it is shown for comparison."
    elif case.extra is not None:
        yield (
            f"A cut there ({place_name(case.extra)}) is shown for comparison only: it is none of the at most "
            f"{CUTS_MAX} that win most often {where}."
        )


def _left_out(case: Case) -> Iterator[str]:
    shown = list(case.left_out.items())[:LEFT_OUT_SHOWN_MAX]
    for name, why in shown:
        yield f"Left out: {name}: {why}."
    if len(case.left_out) > len(shown):
        yield f"Left out too: {len(case.left_out) - len(shown)} more; --json lists them all."


def _cautions(case: Case) -> Iterator[str]:
    """What these figures rest on, where that is not firm ground."""
    for site in case.asked:
        if site.factor != 1.0:
            yield (
                f"{site.name} is a guess: {site.factor:g} times the time of {site.file.name}. Profile on that machine "
                "to know."
            )
        profile = case.profiles[site.name]
        if not profile.inputs_real:
            yield f"The profile of {site.name} was measured on random inputs: sizes and agreement mean little."
        if not profile.steady:
            yield f"The profile of {site.name} was unsteady (spread {profile.spread:.0%}): measure it again."
    if case.objective == "energy":
        powers = ", ".join(f"{site.name} {site.power_w:g} W" for site in case.world.sites)
        radio = case.world.links[0].joules_per_byte * 1e6
        yield f"Energy counts while a site works: {powers}; radio of {case.sites[0]} {radio:g} J/MB. Idling is free."


def measured_where(profile: Profile) -> str:
    """Where and when a profile was taken, in a few words."""
    return f"{profile.machine}{f', {profile.measured_on}' if profile.measured_on else ''}"
