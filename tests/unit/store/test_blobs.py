"""Blobs arrive in pieces, resume, and are there only when they are whole and what they say."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from littoral.core.errors import Conflict, Corrupt, Invalid, NotFound, Overloaded
from littoral.store.blobs import SYNC_BYTES, Blobs

CONTENT = bytes(range(256)) * 10_000  # 2.56 MB


def digest(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


def arrive(blobs: Blobs, content: bytes, piece: int = 700_000) -> None:
    offset = blobs.begin(digest(content), len(content))
    while offset < len(content):
        offset = blobs.append(digest(content), offset, content[offset : offset + piece])
    blobs.finish(digest(content))


def test_a_blob_that_came_in_pieces_is_what_was_sent(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path, 10_000_000)

    arrive(blobs, CONTENT)

    assert digest(CONTENT) in blobs
    assert blobs.open(digest(CONTENT)).read() == CONTENT
    assert blobs.path(digest(CONTENT)).read_bytes() == CONTENT
    assert blobs.read(digest(CONTENT), 5, 3) == CONTENT[5:8]


def test_a_blob_goes_on_after_a_restart_where_whole_megabytes_end(tmp_path: Path) -> None:
    # given a blob of which two and a bit megabytes arrived
    blobs = Blobs(tmp_path, 10_000_000)
    blobs.begin(digest(CONTENT), len(CONTENT))
    blobs.append(digest(CONTENT), 0, CONTENT[:2_300_000])

    # when another process goes on
    again = Blobs(tmp_path, 10_000_000)
    offset = again.begin(digest(CONTENT), len(CONTENT))
    again.append(digest(CONTENT), offset, CONTENT[offset:])
    again.finish(digest(CONTENT))

    # then little was sent twice, and it is whole
    assert offset == 2 * SYNC_BYTES
    assert again.open(digest(CONTENT)).read() == CONTENT


def test_what_is_here_already_need_not_come_again(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path, 10_000_000)
    arrive(blobs, CONTENT)

    assert blobs.begin(digest(CONTENT), len(CONTENT)) == len(CONTENT)
    assert Blobs(tmp_path, 10_000_000).begin(digest(CONTENT), len(CONTENT)) == len(CONTENT)


def test_a_blob_that_is_something_else_is_thrown_away(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path, 10_000_000)
    blobs.begin(digest(b"good"), 4)
    blobs.append(digest(b"good"), 0, b"evil")

    with pytest.raises(Corrupt, match="is not"):
        blobs.finish(digest(b"good"))

    assert digest(b"good") not in blobs
    assert blobs.begin(digest(b"good"), 4) == 0


def test_a_piece_at_the_wrong_place_is_told_the_right_one(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path, 10_000_000)
    blobs.begin(digest(CONTENT), len(CONTENT))
    blobs.append(digest(CONTENT), 0, CONTENT[:100])

    with pytest.raises(Conflict) as found:
        blobs.append(digest(CONTENT), 50, CONTENT[50:200])

    assert found.value.context["offset"] == 100


def test_more_than_was_announced_or_an_early_end_is_refused(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path, 10_000_000)
    blobs.begin(digest(b"abc"), 3)

    with pytest.raises(Invalid, match="3 bytes"):
        blobs.append(digest(b"abc"), 0, b"abcd")
    with pytest.raises(Conflict, match="still to come"):
        blobs.finish(digest(b"abc"))


@pytest.mark.parametrize("name", ["", "sha256:abc", "../../etc/passwd", "sha256:" + "A" * 64, "md5:" + "0" * 32])
def test_what_is_no_digest_names_no_file(tmp_path: Path, name: str) -> None:
    with pytest.raises(Invalid, match="64 hexadecimal"):
        Blobs(tmp_path, 1000).begin(name, 1)


def test_blobs_used_longest_ago_give_way_and_pinned_ones_never(tmp_path: Path) -> None:
    # given three blobs that fill the folder, the first pinned, the second used last
    blobs = Blobs(tmp_path, 3000)
    contents = [bytes([index]) * 1000 for index in range(4)]
    for content in contents[:3]:
        blobs.add(content)
    blobs.pin(digest(contents[0]))
    blobs.read(digest(contents[1]), 0, 1)

    # when a fourth comes
    blobs.add(contents[3])

    # then the third went
    assert [digest(content) in blobs for content in contents] == [True, True, False, True]


def test_where_everything_is_pinned_a_blob_is_refused_also_after_a_restart(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path, 1000)
    blobs.pin(blobs.add(bytes(1000)))

    with pytest.raises(Overloaded, match="no room"):
        Blobs(tmp_path, 1000).begin(digest(b"more"), 4)


def test_collecting_keeps_what_is_named_pinned_or_arriving(tmp_path: Path) -> None:
    # given blobs of each kind, and pieces that an earlier process left
    before = Blobs(tmp_path, 100_000)
    before.begin(digest(b"left"), 4)
    before.append(digest(b"left"), 0, b"le")
    blobs = Blobs(tmp_path, 100_000)
    named, pinned, neither = (blobs.add(text) for text in (b"named", b"pinned", b"neither"))
    blobs.pin(pinned)
    blobs.begin(digest(b"coming"), 6)
    blobs.append(digest(b"coming"), 0, b"com")

    # when it collects
    freed = blobs.collect(keep=[named])

    # then what nobody needs is gone
    assert sorted(blobs.digests()) == sorted([named, pinned])
    assert freed == len(b"neither") + len(b"le")
    assert blobs.append(digest(b"coming"), 3, b"ing") == 6
    assert neither not in blobs


def test_a_blob_that_rotted_is_found_and_must_be_fetched_again(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path, 10_000)
    name = blobs.add(b"sound content")
    blobs.verify(name)
    blobs.path(name).write_bytes(b"sound cOntent")

    with pytest.raises(Corrupt, match="damaged"):
        blobs.verify(name)
    with pytest.raises(NotFound):
        blobs.path(name)


def test_an_empty_blob_is_a_blob(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path, 10)
    assert blobs.open(blobs.add(b"")).read() == b""
