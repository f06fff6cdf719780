"""The process's counters and histograms, shown as Prometheus text.

Base units, the model and its version as labels. One registry per instance, so that two servers in one process (and
tests) do not share counts.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import generate_latest

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

# From 100 µs to 10 s, about 2.2 steps each time: fine enough for a quantile, small enough for a thousand models.
SECONDS_BUCKETS = (1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 5e-2, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
_MODEL = ("model", "version")


class Meters:
    """Every metric the server has. Rooms take the labelled child once and keep it: looking it up costs more than counting."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry(auto_describe=True)
        registry = self.registry
        self.requests = Counter(
            "littoral_requests",
            "Requests by outcome: ok, or the error's code.",
            (*_MODEL, "outcome"),
            registry=registry,
        )
        self.request_seconds = Histogram(
            "littoral_request_seconds",
            "From arrival to answer, of answered requests.",
            _MODEL,
            buckets=SECONDS_BUCKETS,
            registry=registry,
        )
        self.queue_seconds = Histogram(
            "littoral_queue_seconds", "Waiting for a worker.", _MODEL, buckets=SECONDS_BUCKETS, registry=registry
        )
        self.compute_seconds = Histogram(
            "littoral_compute_seconds",
            "Running: pre-processing, the engine, post-processing.",
            _MODEL,
            buckets=SECONDS_BUCKETS,
            registry=registry,
        )
        self.queue_length = Gauge("littoral_queue_length", "Requests waiting now.", _MODEL, registry=registry)
        self.batch_size = Histogram(
            "littoral_batch_size",
            "Requests joined in one run.",
            _MODEL,
            buckets=(1, 2, 4, 8, 16, 32),
            registry=registry,
        )
        self.cache_hits = Counter(
            "littoral_cache_hits", "Answers taken from the result cache.", _MODEL, registry=registry
        )
        self.cache_misses = Counter(
            "littoral_cache_misses", "Requests that were not in the cache.", _MODEL, registry=registry
        )
        self.cache_bytes = Gauge("littoral_cache_bytes", "Bytes of answers kept.", _MODEL, registry=registry)
        self.models = Gauge("littoral_models", "Model versions by state.", ("state",), registry=registry)
        self.reloads = Counter(
            "littoral_model_loads", "Loads by outcome: ok or failed.", ("model", "outcome"), registry=registry
        )
        self.door_requests = Counter(
            "littoral_door_requests", "Requests at each door by status.", ("door", "status"), registry=registry
        )
        self.connections = Gauge("littoral_door_connections", "Open connections.", ("door",), registry=registry)

    def text(self) -> bytes:
        """Everything in Prometheus' text format."""
        return generate_latest(self.registry)
