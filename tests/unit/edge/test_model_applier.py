"""A desired model serves once it is proven, and until then the one before does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest

from littoral.core.clock import RealClock
from littoral.core.desired import Document
from littoral.core.errors import Corrupt, Invalid, LittoralError, Unavailable
from littoral.core.request import InferAnswer, InferRequest
from littoral.core.tensor import Tensor
from littoral.edge.model_applier import ModelApplier
from littoral.edge.releases import Releases
from littoral.model.release import encode_release, pack_release
from littoral.model.repository import Repository
from littoral.model.self_test import SELF_TEST_NAME, SelfTest, encode_self_test
from littoral.monitor.meters import Meters
from littoral.runtime.runtime import Runtime
from models import doubling_onnx

ROW = np.array([[1, 2, 3, 4]], np.float32)


class Shelf:
    """Blobs that lie on the disk already; it notes who asks."""

    def __init__(self) -> None:
        self.places: dict[str, Path] = {}
        self.brought: list[str] = []
        self.pinned: list[str] = []
        self.away = False

    async def bring(self, digest: str, size_bytes: int) -> Path:
        if self.away:
            raise Unavailable("server_away", "The hub does not answer.")
        self.brought.append(digest)
        self.pinned.append(digest)
        return self.places[digest]

    async def release(self, digest: str) -> None:
        self.pinned.remove(digest)


class Stage:
    """A site with an applier and a runtime."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.shelf = Shelf()
        self.releases = Releases(folder / "site")
        self.releases.open()
        self.runtime = Runtime(site="edge", clock=RealClock(), meters=Meters(), workers=1)
        self.applier = ModelApplier(self.runtime, self.releases, self.shelf)

    def document(self, version: str, *, factor: float, expected: float | None = None, name: str = "m") -> Document:
        """A release that multiplies by `factor`, with a self-test that wants `expected`."""
        folder = self.folder / f"made-{version}-{factor}" / name
        doubling_onnx(folder / version / "model.onnx", factor=factor)
        if expected is not None:
            (folder / SELF_TEST_NAME).write_bytes(encode_self_test(SelfTest({"x": ROW}, {"y": expected * ROW})))
        release, places = pack_release(folder)
        self.shelf.places.update(places)
        return Document("model", name, 1, encode_release(release))

    async def factor(self) -> float:
        """What the model multiplies by now."""
        begun = self.runtime.begin(InferRequest("m", (Tensor.of("x", ROW),)))
        answer = begun if isinstance(begun, InferAnswer) else await begun
        return float(answer.output("y").array[0, 0])


@asynccontextmanager
async def standing(folder: Path) -> AsyncIterator[Stage]:
    stage = Stage(folder)
    try:
        yield stage
    finally:
        await stage.runtime.close(grace_s=1.0)


@pytest.mark.anyio
async def test_a_desired_model_is_fetched_proven_and_served(tmp_path: Path) -> None:
    async with standing(tmp_path) as stage:
        # given a release with a self-test that fits
        document = stage.document("1", factor=2.0, expected=2.0)

        # when it is applied, twice
        await stage.applier.apply(document)
        await stage.applier.apply(document)

        # then it serves, was fetched once, and nothing stays pinned
        assert await stage.factor() == 2.0
        assert len(stage.shelf.brought) == 2
        assert stage.shelf.pinned == []
        assert stage.applier.holds("m")


@pytest.mark.anyio
async def test_a_model_that_fails_its_self_test_never_replaces_the_running_one(tmp_path: Path) -> None:
    async with standing(tmp_path) as stage:
        await stage.applier.apply(stage.document("1", factor=2.0, expected=2.0))

        with pytest.raises(Corrupt) as failed:
            await stage.applier.apply(stage.document("2", factor=3.0, expected=2.0))

        assert failed.value.code == "self_test_failed"
        assert await stage.factor() == 2.0
        assert stage.runtime.versions("m") == ("1",)
        assert Repository([stage.releases.models]).find("m")[-1].version == "1"


@pytest.mark.anyio
async def test_a_file_that_is_no_model_never_replaces_the_running_one(tmp_path: Path) -> None:
    async with standing(tmp_path) as stage:
        await stage.applier.apply(stage.document("1", factor=2.0))
        (tmp_path / "broken" / "m" / "2").mkdir(parents=True)
        (tmp_path / "broken" / "m" / "2" / "model.onnx").write_bytes(b"this is no model")
        release, places = pack_release(tmp_path / "broken" / "m")
        stage.shelf.places.update(places)

        with pytest.raises(LittoralError):
            await stage.applier.apply(Document("model", "m", 2, encode_release(release)))

        assert await stage.factor() == 2.0


@pytest.mark.anyio
async def test_requests_are_answered_by_the_old_or_the_new_all_through_a_switch(tmp_path: Path) -> None:
    async with standing(tmp_path) as stage:
        await stage.applier.apply(stage.document("1", factor=2.0))
        switched, answers = asyncio.Event(), []

        async def ask() -> None:
            while not switched.is_set():
                answers.append(await stage.factor())
                await asyncio.sleep(0)

        asking = asyncio.create_task(ask())
        await stage.applier.apply(stage.document("2", factor=3.0))
        switched.set()
        await asking

        assert set(answers) <= {2.0, 3.0}
        assert answers == sorted(answers)
        assert await stage.factor() == 3.0


@pytest.mark.anyio
async def test_the_version_before_comes_back_without_being_fetched_again(tmp_path: Path) -> None:
    async with standing(tmp_path) as stage:
        first = stage.document("1", factor=2.0)
        await stage.applier.apply(first)
        await stage.applier.apply(stage.document("2", factor=3.0))
        stage.shelf.away = True

        await stage.applier.apply(first)

        assert await stage.factor() == 2.0
        assert stage.runtime.versions("m") == ("1",)


@pytest.mark.anyio
async def test_another_release_of_the_same_version_replaces_it(tmp_path: Path) -> None:
    async with standing(tmp_path) as stage:
        await stage.applier.apply(stage.document("1", factor=2.0))
        await stage.applier.apply(stage.document("1", factor=5.0))

        assert await stage.factor() == 5.0


@pytest.mark.anyio
async def test_a_model_that_is_desired_no_more_serves_no_more(tmp_path: Path) -> None:
    async with standing(tmp_path) as stage:
        await stage.applier.apply(stage.document("1", factor=2.0))

        await stage.applier.remove("m")
        await stage.applier.remove("m")

        assert stage.runtime.versions("m") == ()
        assert stage.releases.names() == ()


@pytest.mark.anyio
async def test_a_release_that_was_damaged_on_disk_is_stood_in_for_by_the_one_before_and_then_mended(
    tmp_path: Path,
) -> None:
    # given a site whose release in force was damaged while it was off
    async with standing(tmp_path) as stage:
        await stage.applier.apply(stage.document("1", factor=2.0))
        newest = stage.document("2", factor=3.0)
        await stage.applier.apply(newest)
    damaged = Repository([stage.releases.models]).find("m")[-1].path
    damaged.unlink()
    damaged.write_bytes(b"not a model any more")

    # when it starts again
    async with standing(tmp_path) as again:
        again.shelf.places = stage.shelf.places
        again.applier.holds("m")
        await again.applier.restore()

        # then the one before serves, and applying mends it
        assert await again.factor() == 2.0
        await again.applier.apply(newest)
        assert await again.factor() == 3.0


@pytest.mark.anyio
async def test_a_document_that_holds_another_models_release_is_refused(tmp_path: Path) -> None:
    async with standing(tmp_path) as stage:
        body = stage.document("1", factor=2.0).body

        with pytest.raises(Invalid):
            await stage.applier.apply(Document("model", "other", 1, body))


@pytest.mark.anyio
async def test_a_hub_that_is_away_leaves_everything_as_it_is(tmp_path: Path) -> None:
    async with standing(tmp_path) as stage:
        await stage.applier.apply(stage.document("1", factor=2.0))
        stage.shelf.away = True

        with pytest.raises(Unavailable):
            await stage.applier.apply(stage.document("2", factor=3.0))

        assert await stage.factor() == 2.0
        assert stage.shelf.pinned == []
