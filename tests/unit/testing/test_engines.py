"""The engine that does what its script says."""

from __future__ import annotations

from littoral.testing.check_engine import check_engine
from littoral.testing.engines import ScriptedEngine


def test_the_scripted_engine_keeps_every_promise_of_an_engine() -> None:
    check_engine(ScriptedEngine)
