"""An agent's memory comes back as it was, or says that it does not."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from littoral.core.desired import Desired, Document
from littoral.core.errors import Corrupt, Unavailable
from littoral.fleet.memory import FileMemory, Remembered
from littoral.fleet.twin import Report


def test_what_was_saved_is_loaded(tmp_path: Path) -> None:
    remembered = Remembered(
        Desired(3, (Document("model", "m", 2, b'\x00{"a": 1}'),)),
        (Report("model", "m", 2, "failed", 1, "self_test_failed", "It differs."),),
        9,
        (("model", "m", 1),),
    )

    asyncio.run(FileMemory(tmp_path / "agent.json").save(remembered))

    assert asyncio.run(FileMemory(tmp_path / "agent.json").load()) == remembered


def test_a_site_without_a_memory_remembers_nothing(tmp_path: Path) -> None:
    assert asyncio.run(FileMemory(tmp_path / "agent.json").load()) == Remembered()


@pytest.mark.parametrize("content", [b"", b"{}", b"[1", b"\xff"])
def test_a_damaged_memory_is_not_guessed_at(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "agent.json").write_bytes(content)

    with pytest.raises(Corrupt) as failed:
        asyncio.run(FileMemory(tmp_path / "agent.json").load())

    assert failed.value.code == "memory_wrong"


def test_a_folder_that_is_gone_is_told(tmp_path: Path) -> None:
    with pytest.raises(Unavailable):
        asyncio.run(FileMemory(tmp_path / "gone" / "agent.json").save(Remembered()))
