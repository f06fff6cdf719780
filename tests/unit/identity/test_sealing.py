"""What is sealed on a disk opens in its place with its key, and nowhere else."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from littoral.core.errors import Corrupt, Denied
from littoral.identity.sealing import OVERHEAD_BYTES, Sealing
from littoral.store.sealing import Seal

MASTER = bytes(range(32))


@given(st.binary(max_size=200), st.binary(max_size=40))
def test_what_is_sealed_opens_with_the_same_context(content: bytes, context: bytes) -> None:
    seal: Seal = Sealing(MASTER, purpose="outbox")
    sealed = seal.seal(content, context)
    assert len(sealed) == len(content) + OVERHEAD_BYTES
    assert Sealing(MASTER, purpose="outbox").open(sealed, context) == content


@given(st.binary(min_size=1, max_size=60), st.data())
def test_no_bit_of_a_sealed_record_can_change(content: bytes, data: st.DataObject) -> None:
    # given a sealed record
    seal = Sealing(MASTER, purpose="outbox")
    sealed = bytearray(seal.seal(content, b"here"))

    # when any of its bits flips, or it breaks off
    bit = data.draw(st.integers(0, len(sealed) * 8 - 1))
    flipped = bytes(sealed[: bit // 8]) + bytes([sealed[bit // 8] ^ 1 << bit % 8]) + bytes(sealed[bit // 8 + 1 :])
    for wrong in (flipped, bytes(sealed[: bit // 8])):
        # then it does not open
        with pytest.raises(Corrupt):
            seal.open(wrong, b"here")


def test_a_record_does_not_open_in_another_place_with_another_key_or_for_another_purpose() -> None:
    sealed = Sealing(MASTER, purpose="outbox").seal(b"content", b"log/1")
    for seal, context in (
        (Sealing(MASTER, purpose="outbox"), b"log/2"),
        (Sealing(MASTER, purpose="records"), b"log/1"),
        (Sealing(os.urandom(32), purpose="outbox"), b"log/1"),
    ):
        with pytest.raises(Corrupt) as caught:
            seal.open(sealed, context)
        assert caught.value.code == "seal_broken"


def test_the_same_content_never_looks_the_same_twice() -> None:
    # given two openings of one key, and many records of the same content
    seals = [Sealing(MASTER, purpose="outbox") for _ in range(2)]

    # when they are sealed
    sealed = [seal.seal(b"", b"") for seal in seals for _ in range(500)]

    # then no nonce comes twice, and the two openings use keys of their own
    assert len({each[1:29] for each in sealed}) == 1000
    assert len({each[1:17] for each in sealed}) == 2


def test_a_key_is_changed_after_so_many_records_and_old_ones_still_open() -> None:
    seal = Sealing(MASTER, purpose="outbox", records_max=3)
    sealed = [seal.seal(bytes([n]), b"") for n in range(256)]
    assert len({each[1:17] for each in sealed}) == 86
    assert [seal.open(each, b"")[0] for each in sealed] == list(range(256))


def test_a_folders_key_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    # given a folder
    first = Sealing.of_folder(tmp_path / "keys", purpose="outbox")
    path = tmp_path / "keys" / "sealing.key"

    # when it is opened again, then what was sealed opens
    assert Sealing.of_folder(tmp_path / "keys", purpose="outbox").open(first.seal(b"x", b""), b"") == b"x"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600

    # and a key that others may read, or that is none, is not used
    path.chmod(0o644)
    with pytest.raises(Denied):
        Sealing.of_folder(tmp_path / "keys", purpose="outbox")
    path.chmod(0o600)
    path.write_bytes(b"short")
    with pytest.raises(Corrupt):
        Sealing.of_folder(tmp_path / "keys", purpose="outbox")


def test_a_key_is_not_shown_by_accident() -> None:
    seal = Sealing(MASTER, purpose="outbox")
    assert MASTER.hex() not in repr(seal)
    assert str(MASTER) not in repr(seal)
