"""What is counted, and how Prometheus reads it."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from littoral.monitor.meters import OUTCOMES_MAX, Meters


def _samples(meters: Meters) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(meters.text().decode())
        for sample in family.samples
    }


def test_counts_and_durations_of_a_model_are_shown_under_its_name_and_version() -> None:
    # given three answers, of which one took longer than any bucket
    meters = Meters()
    model = meters.model("little", "3")
    for seconds in (0.0001, 0.0002, 60.0):
        model.answered += 1
        model.request_seconds.add(seconds)
    model.refuse("queue_full")
    model.queue_length = lambda: 4

    # when the metrics are read
    samples = _samples(meters)

    # then counts, cumulative buckets and sums agree with what happened
    name = (("model", "little"), ("version", "3"))
    assert samples["littoral_requests_total", (("model", "little"), ("outcome", "ok"), ("version", "3"))] == 3
    assert samples["littoral_requests_total", (("model", "little"), ("outcome", "queue_full"), ("version", "3"))] == 1
    assert samples["littoral_request_seconds_bucket", (("le", "0.0001"), *name)] == 1
    assert samples["littoral_request_seconds_bucket", (("le", "0.0002"), *name)] == 2
    assert samples["littoral_request_seconds_bucket", (("le", "10.0"), *name)] == 2
    assert samples["littoral_request_seconds_bucket", (("le", "+Inf"), *name)] == 3
    assert samples["littoral_request_seconds_count", name] == 3
    assert samples["littoral_queue_length", name] == 4


def test_two_servers_in_one_process_do_not_share_counts() -> None:
    one, other = Meters(), Meters()
    one.model("m", "1").answered += 5
    assert b'model="m"' not in other.text()


def test_a_model_that_invents_error_codes_does_not_invent_endless_metrics() -> None:
    # given a model whose errors carry a thousand codes
    meters = Meters()
    for number in range(1000):
        meters.model("m", "1").refuse(f"code_{number}")

    # when the metrics are read
    outcomes = [labels for name, labels in _samples(meters) if name == "littoral_requests_total"]

    # then most of them stand under one name
    assert len(outcomes) <= OUTCOMES_MAX + 2


def test_a_version_that_is_gone_leaves_the_metrics() -> None:
    meters = Meters()
    meters.model("m", "1").answered += 1
    meters.forget("m", "1")
    assert b'model="m"' not in meters.text()
