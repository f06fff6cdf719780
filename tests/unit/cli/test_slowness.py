"""A slower machine: how long a process stands still for what it has used."""

from __future__ import annotations

from littoral.cli.slowness import OWED_S_MAX, Debt


def test_a_process_that_works_takes_as_many_times_as_long_as_told() -> None:
    # given a process that uses the core for as long as it may run
    debt, passed_s, used_s = Debt(), 0.0, 0.0

    # when it works a second of it, and each stop is kept to
    while used_s < 1.0:
        used_s += 0.004
        stop_s = debt.add(used_s=0.004, passed_s=0.004, slowdown=16.0)
        debt.add(used_s=0.0, passed_s=stop_s, slowdown=16.0)
        passed_s += 0.004 + stop_s

    # then sixteen seconds have passed
    assert abs(passed_s - 16.0) < 0.1


def test_a_process_that_waits_is_not_stopped_and_saves_nothing_up() -> None:
    # given one that waited for long
    debt = Debt()
    waited_s = debt.add(used_s=0.0, passed_s=60.0, slowdown=16.0)

    # when it works again
    stop_s = debt.add(used_s=0.004, passed_s=0.004, slowdown=16.0)

    # then it owes about what one owes that never waited
    assert waited_s == 0.0
    assert 0.05 < stop_s <= 0.06


def test_a_process_that_gets_no_core_because_others_have_it_is_not_made_slower_still() -> None:
    # given a busy machine, on which the process gets a core for a sixteenth of the time
    debt = Debt()

    # when a while has passed
    stops_s = [debt.add(used_s=0.004, passed_s=0.064, slowdown=16.0) for _ in range(20)]

    # then it is as slow as it should be already
    assert stops_s == [0.0] * 20


def test_a_burst_that_nobody_looked_at_stops_a_process_for_a_bounded_time() -> None:
    # given a process that ran free for two seconds
    debt = Debt()

    # when that is seen
    stop_s = debt.add(used_s=2.0, passed_s=2.0, slowdown=16.0)

    # then it stands still for so long at most
    assert stop_s == OWED_S_MAX
