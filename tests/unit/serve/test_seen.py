"""What was seen is known after a restart, as far back as there is room."""

from __future__ import annotations

from pathlib import Path

from littoral.serve.seen import Seen


def _key(number: int) -> bytes:
    return number.to_bytes(32, "big")


def test_the_last_keys_are_known_to_the_next_process_and_older_ones_make_way(tmp_path: Path) -> None:
    # given a memory with room for four that saw six
    seen = Seen(tmp_path / "seen", keys_max=4)
    assert seen.open() == []
    for number in range(1, 7):
        seen.note(_key(number))
    seen.close()

    # when another process opens it, sees one more, and a third looks
    again = Seen(tmp_path / "seen", keys_max=4)
    assert again.open() == [_key(3), _key(4), _key(5), _key(6)]
    again.note(_key(7))
    again.close()

    # then the oldest made way
    assert Seen(tmp_path / "seen", keys_max=4).open() == [_key(4), _key(5), _key(6), _key(7)]


def test_a_file_that_breaks_off_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    seen = Seen(tmp_path / "seen", keys_max=4)
    seen.open()
    seen.note(_key(1))
    seen.note(_key(2))
    seen.close()
    whole = (tmp_path / "seen").read_bytes()
    (tmp_path / "seen").write_bytes(whole[:-3])

    assert Seen(tmp_path / "seen", keys_max=4).open() == [_key(1)]
