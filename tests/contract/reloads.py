"""Loads a model again and again in a process of its own, and prints the memory before and after as JSON.

python reloads.py PATH NAME COUNT
"""

from __future__ import annotations

import gc
import json
import sys
from pathlib import Path

import numpy as np
import psutil

from littoral.model.model import Model
from littoral.model.opening import open_model
from littoral.model.repository import Repository
from littoral.testing.check_engine import example_inputs

RUNS = 3


def load_and_run(repository: Repository, name: str) -> Model:
    model = open_model(repository.find(name)[0])
    arrays = example_inputs(model.inputs, np.random.default_rng(0))
    for _ in range(RUNS):
        model.engine.run(arrays, model.every_output)
    return model


def resident_mb() -> float:
    gc.collect()
    return float(psutil.Process().memory_info().rss) / 1e6


def main() -> None:
    path, name, count = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    repository = Repository([path])
    empty_mb = resident_mb()
    model = load_and_run(repository, name)
    first_mb = resident_mb()
    for _ in range(count):
        newer = load_and_run(repository, name)  # the older one stays until the newer one has answered, as in a server
        model.close()
        model = newer
    after_mb = resident_mb()
    model.close()
    print(json.dumps({"empty_mb": empty_mb, "first_mb": first_mb, "after_mb": after_mb}))  # noqa: T201


main()
