"""What every test may ask for: the asyncio backend, and the folder of real inputs where there is one."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import pytest

KEPT = pytest.StashKey[str]()


def pytest_configure(config: pytest.Config) -> None:
    """What servers keep of models goes to a folder of this run, and not into the user's cache."""
    config.stash[KEPT] = os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp(prefix="littoral-tests-")
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # for tests that load ONNX Runtime themselves


def pytest_unconfigure(config: pytest.Config) -> None:
    shutil.rmtree(config.stash[KEPT], ignore_errors=True)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def littoral_data() -> Path:
    """The folder of real models and pictures; the test is skipped where LITTORAL_DATA does not name one."""
    folder = os.environ.get("LITTORAL_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("LITTORAL_DATA does not name a folder of real inputs")
    return Path(folder)
