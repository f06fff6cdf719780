"""The arms of a run are the ones asked for, and only their environments are set up."""

from __future__ import annotations

import pytest
from benchmarks.arms import ARMS, PEERS, chosen, needed
from benchmarks.peers.environments import REQUIREMENTS
from benchmarks.serving_table import TITLES


def test_without_peers_the_bare_arms_and_littoral_are_measured() -> None:
    names = [arm.name for arm in chosen(needed([]))]

    assert names == ["bare-asgi", "bare-grpc", "bare-grpc-aio", "littoral"]


def test_an_environment_is_set_up_only_for_an_arm_that_is_measured() -> None:
    assert needed(["fastapi", "kserve"], only=["littoral", "kserve"]) == ["kserve"]


def test_an_arm_whose_environment_could_not_be_set_up_is_left_out() -> None:
    names = [arm.name for arm in chosen(["bare"], only=["littoral", "bare-asgi", "triton"])]

    assert names == ["bare-asgi", "littoral"]


def test_an_unknown_peer_or_arm_is_refused_with_those_there_are() -> None:
    with pytest.raises(SystemExit, match="no such peer: flask; there are fastapi"):
        needed(["flask"])
    with pytest.raises(SystemExit, match="no such arm: flask; there are bare-asgi"):
        chosen([], only=["flask"])


def test_every_arm_has_a_title_and_every_environment_a_recipe() -> None:
    assert {arm.name for arm in ARMS} == set(TITLES)
    assert {arm.environment for arm in ARMS} - {None} == set(REQUIREMENTS)
    assert set(PEERS) == set(REQUIREMENTS) - {"bare"}
