"""A model's halves are the whole, at every block where it can be cut, and a codec keeps what its profile says."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace

from littoral.core.errors import Invalid, Unavailable
from littoral.model import builtin
from littoral.model.blocks import find_blocks
from littoral.model.model import Model
from littoral.model.onnx_graph import read_graph
from littoral.model.opening import open_model
from littoral.model.profile import Profile, read_profile, save_profile
from littoral.model.repository import Repository
from littoral.net.codec import CODECS
from littoral.runtime.placing import AGREEMENT_MIN, every_split, place
from littoral.runtime.profiling import profile, same_by_task
from littoral.runtime.splitting import DIFFERENCE_MAX, prove_split

SOURCE = Repository((builtin.path(),)).find("surface-big")[-1]
PICTURES = [path.read_bytes() for path, _ in builtin.pictures()]
BLOCKS = find_blocks(read_graph(SOURCE.path)).names()[:-1]


@pytest.fixture(scope="module")
def big() -> Iterator[Model]:
    model = open_model(SOURCE)
    yield model
    model.close()


@pytest.fixture(scope="module")
def measured(big: Model) -> Profile:
    return profile(big, SOURCE.path, PICTURES[:16], rounds=5)


@pytest.mark.parametrize("block", BLOCKS)
def test_the_halves_of_the_built_in_model_give_the_wholes_answer_at_every_block(
    big: Model, measured: Profile, tmp_path: Path, block: str
) -> None:
    # when it is cut there and both halves are run on pictures that the profile has not seen
    proof = prove_split(big, SOURCE.path, block, tmp_path, PICTURES[16:40])

    # then without loss they are the whole, and half precision changes no answer
    rows = {row.codec: row for row in proof.rows}
    assert set(rows) == set(CODECS)
    for codec in ("raw", "raw+zstd"):
        assert rows[codec].difference <= DIFFERENCE_MAX
        assert rows[codec].agreement == 1.0
    assert rows["fp16"].agreement == 1.0

    # and eight bits change at most one of them; zstd changes nothing that its codec did not
    assert rows["int8"].agreement >= 1 - 1 / 24
    for codec in ("fp16", "int8", "int4"):
        assert rows[codec].difference == rows[f"{codec}+zstd"].difference
        assert rows[codec].agreement == rows[f"{codec}+zstd"].agreement
    assert proof.head.stat().st_size + proof.tail.stat().st_size > SOURCE.path.stat().st_size * 0.9


def test_a_profile_has_a_figure_for_every_block_boundary_and_codec(measured: Profile) -> None:
    assert [block.name for block in measured.blocks] == [*BLOCKS, f"b{len(BLOCKS)}"]
    assert all(block.ms > 0 and block.model_bytes > 0 for block in measured.blocks)
    assert sum(block.model_bytes for block in measured.blocks) >= SOURCE.path.stat().st_size * 0.9
    for boundary in measured.boundaries:
        assert set(boundary.packed_bytes) == set(boundary.pack_ms) == set(boundary.agreement) == set(CODECS)
        assert boundary.packed_bytes["raw"] > boundary.packed_bytes["fp16"] > boundary.packed_bytes["int8"]
        assert boundary.agreement["raw"] == 1.0
    assert measured.inputs_real
    assert measured.prepare_ms > 0
    assert measured.input_bytes == pytest.approx(np.mean([len(picture) for picture in PICTURES[:16]]))


def test_no_plan_offers_a_codec_that_changes_more_answers_than_is_allowed(measured: Profile) -> None:
    # given a profile in which four bits change an answer in ten
    poor = [replace(one, agreement={**one.agreement, "int4+zstd": 0.9}) for one in measured.boundaries]
    spoilt = replace(measured, boundaries=poor)

    # when plans are made of it
    sites = {"pi": spoilt, "cloud": spoilt}
    splits = every_split(sites)
    assert splits is not None

    # then none uses it, and every other keeps what was asked
    plans = [*place(sites).table.plans, *splits.plans]
    assert {plan.codec for plan in plans if plan.codec} <= set(CODECS) - {"int4+zstd"}
    assert all(plan.quality is None or plan.quality >= AGREEMENT_MIN for plan in plans)


def test_a_profile_comes_back_from_its_file_as_it_was(measured: Profile, tmp_path: Path) -> None:
    save_profile(measured, tmp_path / "deep" / "one.json")
    assert read_profile(tmp_path / "deep" / "one.json") == measured


def test_agreement_is_about_the_answer_not_about_its_numbers(big: Model) -> None:
    # given scores with one order and another
    same = same_by_task(big, PICTURES[:1])
    scores = np.array([[0.1, 3.0, 0.2, 0.0, 0.0, 0.0]], dtype=np.float32)

    # then what names the same class is the same
    assert same([scores], [scores * 0.9])
    assert not same([scores], [scores[:, ::-1].copy()])


def test_without_pictures_random_inputs_stand_in_and_the_profile_says_so(big: Model) -> None:
    assert not profile(big, SOURCE.path, [], rounds=5).inputs_real


def test_what_cannot_be_cut_or_written_is_refused(big: Model, tmp_path: Path) -> None:
    for wrong in (
        lambda: prove_split(big, tmp_path / "model.tflite", "b0", tmp_path, PICTURES[:1]),
        lambda: profile(big, tmp_path / "model.tflite", PICTURES[:1]),
        lambda: prove_split(big, SOURCE.path, "b99", tmp_path, PICTURES[:1]),
    ):
        with pytest.raises(Invalid):
            wrong()
    (tmp_path / "file").write_text("")
    with pytest.raises(Unavailable) as refused:
        prove_split(big, SOURCE.path, "b0", tmp_path / "file", PICTURES[:1])
    assert refused.value.code == "file_unwritable"
