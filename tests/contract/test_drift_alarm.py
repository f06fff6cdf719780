"""A camera that goes dark at a real site becomes an alarm at its real hub, and nothing does before."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from itertools import cycle
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import numpy.typing as npt

from contract.escalation_stage import LITTLE, repository, write_cascade
from contract.hub_stage import Stage, running
from littoral.edge.edge import Edge
from littoral.edge.edge_settings import EdgeSettings
from littoral.edge.membership import join
from littoral.identity.enrol import JoinToken
from littoral.monitor.drift import SAMPLES_MIN, reference_of
from littoral.serve.client.async_client import AsyncClient

Frame = npt.NDArray[np.float32]
SITE = "cam-1"
LOOK_EVERY = 40  # requests
WAIT_S_MAX = 120.0


def frames(chance: np.random.Generator, *, light: float) -> list[Frame]:
    """What the camera sees, as the model takes it: float32, (1, 3, 96, 96)."""
    return [
        np.full((1, 3, 96, 96), light, np.float32) + chance.normal(0.0, 0.2, (1, 3, 96, 96)).astype(np.float32) + shade
        for shade in chance.normal(0.0, 0.1, 120).astype(np.float32)
    ]


def models_calibrated_on(folder: Path, seen: list[Frame]) -> Path:
    """The little model, beside a calibration that tells what it saw."""
    models = repository(folder, LITTLE)
    reference = reference_of([float(frame.mean()) for frame in seen])
    write_cascade(models / LITTLE, references={"input mean": reference})
    return models


def join_here(hub: Stage, folder: Path) -> Path:
    made = hub.admin.post("/v1/join-tokens", json={"site": SITE}).raise_for_status().json()
    join(folder, JoinToken.parse(made["text"]), SITE)
    return folder


async def film(url: str, seen: list[Frame], enough: Callable[[], bool]) -> None:
    """One frame after another until that is enough."""
    async with asyncio.timeout(WAIT_S_MAX), AsyncClient(url) as camera:
        for number, frame in enumerate(cycle(seen), 1):
            await camera.infer(LITTLE, {"input": frame}, deadline_ms=20_000)
            if number % LOOK_EVERY == 0 and await asyncio.to_thread(enough):
                return


def test_a_camera_that_goes_dark_is_told_at_the_hub_with_what_changed_and_what_to_do(tmp_path: Path) -> None:
    chance = np.random.default_rng(7)
    day, night = frames(chance, light=0.0), frames(chance, light=-1.0)

    async def story(hub: Stage) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        # given a site whose model was calibrated by day
        edge = Edge(
            EdgeSettings(
                join_here(hub, tmp_path / "site"),
                (models_calibrated_on(tmp_path / "models", day),),
                http_port=0,
                grpc_port=None,
                upstreams=None,
                drift_every_s=0.001,
                telemetry_every_s=0.2,
                grace_s=0.5,
            )
        )
        url = (await edge.start()).node.http_url

        def alarms() -> list[dict[str, Any]]:
            told = hub.admin.get(f"/v1/sites/{SITE}/detail").raise_for_status().json()["alarms"]
            return [alarm for alarm in told if alarm["code"] == "drift"]

        def compared() -> bool:
            metrics = httpx.get(f"{url}/metrics", trust_env=False).text
            found = re.search(r"^littoral_drift_samples_total\{.*\} (\d+)", metrics, re.MULTILINE)
            return found is not None and int(found[1]) >= SAMPLES_MIN

        try:
            # when it sees the day, and then the light goes
            await film(url, day, compared)
            before = await asyncio.to_thread(alarms)
            await film(url, night, lambda: bool(alarms()))
            return before, (await asyncio.to_thread(alarms))[0]
        finally:
            await edge.stop()

    with running(tmp_path / "hub") as hub:
        before, alarm = asyncio.run(story(hub))

    # then there was no alarm by day, and the one of the night names the model, the change and the next step
    assert before == []
    assert alarm["site"] == SITE
    assert f"What {LITTLE} sees or says is not like its calibration: input mean lower" in alarm["message"]
    assert "littoral calibrate" in alarm["next"]
