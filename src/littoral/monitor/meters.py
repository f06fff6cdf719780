"""The process's counters and histograms, shown as Prometheus text.

Base units, the model and its version as labels. One registry per instance, so that two servers in one process (and
tests) do not share counts. What is counted for every request is plain numbers written by one thread and read only when
somebody scrapes: a request pays for an addition, not for a lock and a label lookup.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

from prometheus_client import CollectorRegistry, Counter, Gauge
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import generate_latest

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

# From 100 µs to 10 s, about 2.2 steps each time: fine enough for a quantile, small enough for a thousand models.
SECONDS_BUCKETS = (1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 5e-2, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
BATCH_BUCKETS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
OUTCOMES_MAX = 64
_MODEL = ("model", "version")


class Distribution:
    """A histogram in plain numbers; `counts` has one place more than `bounds`, for what lies beyond the last."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def add(self, value: float) -> None:
        """Counts one value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    @property
    def count(self) -> int:
        """How many values were added."""
        return sum(self.counts)

    def cumulative(self) -> list[tuple[str, float]]:
        """For each bound, how many values did not exceed it; the last is `+Inf`."""
        names = [repr(bound) for bound in self.bounds] + ["+Inf"]
        return [(name, float(count)) for name, count in zip(names, accumulate(self.counts), strict=True)]


@dataclass(frozen=True, slots=True)
class Family:
    """A metric in plain values: its name without `littoral_` and `_total`, and a number for each set of label values.

    `counts`: the numbers only grow.
    """

    name: str
    text: str
    labels: tuple[str, ...]
    rows: Sequence[tuple[tuple[str, ...], float]]
    counts: bool = False


def _shown(family: Family) -> Metric:
    kind = CounterMetricFamily if family.counts else GaugeMetricFamily
    metric = kind(f"littoral_{family.name}", family.text, labels=family.labels)
    for values, number in family.rows:
        metric.add_metric(values, number)
    return metric


def _nothing() -> int:
    return 0


class ModelMeters:
    """What is counted for one version of one model; written by the event loop only."""

    __slots__ = (
        "answered",
        "batch_size",
        "cache_bytes",
        "cache_hits",
        "cache_misses",
        "compute_seconds",
        "late",
        "queue_length",
        "queue_seconds",
        "refused",
        "request_seconds",
    )

    def __init__(self) -> None:
        self.answered = 0
        self.late = 0
        self.refused: dict[str, int] = {}
        self.request_seconds = Distribution(SECONDS_BUCKETS)
        self.queue_seconds = Distribution(SECONDS_BUCKETS)
        self.compute_seconds = Distribution(SECONDS_BUCKETS)
        self.batch_size = Distribution(BATCH_BUCKETS)
        self.cache_hits = 0
        self.cache_misses = 0
        self.cache_bytes: Callable[[], int] = _nothing
        self.queue_length: Callable[[], int] = _nothing

    def refuse(self, code: str) -> None:
        """Counts a request that ended in the error `code`; codes beyond the 64th kind count as `other`."""
        refused = self.refused
        if code not in refused and len(refused) >= OUTCOMES_MAX:
            code = "other"
        refused[code] = refused.get(code, 0) + 1


class Meters:
    """Every metric the server has.

    Rooms take a labelled child, or a model's meters, once and keep it: looking it up costs more than counting.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry(auto_describe=True)
        registry = self.registry
        self.loads = Counter(
            "littoral_model_loads", "Loads by outcome: ok or failed.", ("model", "outcome"), registry=registry
        )
        self.door_requests = Counter(
            "littoral_door_requests", "Requests at each door by status.", ("door", "status"), registry=registry
        )
        self.connections = Gauge("littoral_door_connections", "Open connections.", ("door",), registry=registry)
        self._models: dict[tuple[str, str], ModelMeters] = {}
        self._states: Callable[[], dict[str, int]] = dict
        self._sources: list[Callable[[], Iterator[Family]]] = []
        registry.register(_Models(self))

    def model(self, name: str, version: str) -> ModelMeters:
        """The meters of one version; they go on counting where it is loaded again."""
        return self._models.setdefault((name, version), ModelMeters())

    def forget(self, name: str, version: str) -> None:
        """Drops the meters of a version that is gone, so that endless new versions do not pile up."""
        self._models.pop((name, version), None)

    def watch_states(self, states: Callable[[], dict[str, int]]) -> None:
        """Takes the function that counts model versions by state."""
        self._states = states

    def watch(self, source: Callable[[], Iterator[Family]]) -> None:
        """Takes a function that is asked at each scrape for what another room counts."""
        self._sources.append(source)

    def text(self) -> bytes:
        """Everything in Prometheus' text format."""
        return generate_latest(self.registry)

    def families(self) -> Iterator[Metric]:
        """The models' metrics as they are now."""
        models = list(self._models.items())
        requests = CounterMetricFamily(
            "littoral_requests", "Requests by outcome: ok, or the error's code.", labels=(*_MODEL, "outcome")
        )
        for key, meters in models:
            requests.add_metric((*key, "ok"), meters.answered)
            for code, count in list(meters.refused.items()):
                requests.add_metric((*key, code), count)
        yield requests
        for name, text in _DISTRIBUTIONS.items():
            histogram = HistogramMetricFamily(f"littoral_{name}", text, labels=_MODEL)
            for key, meters in models:
                distribution: Distribution = getattr(meters, name)
                histogram.add_metric(key, distribution.cumulative(), distribution.total)
            yield histogram
        for name, text in _COUNTERS.items():
            counter = CounterMetricFamily(f"littoral_{name}", text, labels=_MODEL)
            for key, meters in models:
                counter.add_metric(key, getattr(meters, _ATTRIBUTES.get(name, name)))
            yield counter
        for name, text in _GAUGES.items():
            gauge = GaugeMetricFamily(f"littoral_{name}", text, labels=_MODEL)
            for key, meters in models:
                gauge.add_metric(key, getattr(meters, name)())
            yield gauge
        states = GaugeMetricFamily("littoral_models", "Model versions by state.", labels=("state",))
        for state, count in sorted(self._states().items()):
            states.add_metric((state,), count)
        yield states
        for source in self._sources:
            yield from map(_shown, source())


class _Models:
    """What the registry asks at each scrape."""

    def __init__(self, meters: Meters) -> None:
        self._meters = meters

    def describe(self) -> list[Metric]:
        """No names in advance: nothing else in this registry could clash with them."""
        return []

    def collect(self) -> Iterator[Metric]:
        """The models' metrics."""
        return self._meters.families()


_DISTRIBUTIONS = {
    "request_seconds": "From arrival to answer, of answered requests.",
    "queue_seconds": "Waiting for a worker.",
    "compute_seconds": "Running: pre-processing, the engine, post-processing.",
    "batch_size": "Requests joined in one run.",
}
_COUNTERS = {
    "requests_late": "Requests answered after their deadline.",
    "cache_hits": "Answers taken from the result cache.",
    "cache_misses": "Requests that were not in the cache.",
}
_ATTRIBUTES = {"requests_late": "late"}
_GAUGES = {
    "queue_length": "Requests waiting now.",
    "cache_bytes": "Bytes of answers kept.",
}
