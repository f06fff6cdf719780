"""Keys: who may come in, and which key files are refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from littoral.core.errors import Invalid, LittoralError, Unavailable
from littoral.serve.api_keys import read_api_keys

KEYS = "# ours\n\nfirst-key-of-the-plant\n  second-key-of-the-plant  \n"


def test_every_key_of_the_file_opens_and_no_other(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(KEYS)

    admit = read_api_keys(file)

    assert admit("first-key-of-the-plant")
    assert admit("second-key-of-the-plant")
    assert admit("Bearer second-key-of-the-plant")
    assert not admit("third-key-of-the-plant")
    assert not admit("# ours")
    assert not admit("")
    assert not admit(None)
    assert not admit("caf\xe9\udcff")


@pytest.mark.parametrize(
    ("content", "kind", "code"),
    [
        (b"# nothing\n", Invalid, "api_keys_wrong"),
        (b"short\n", Invalid, "api_keys_wrong"),
        (b"\xff\xfe\n", Unavailable, "file_unreadable"),
        (None, Unavailable, "file_unreadable"),
    ],
)
def test_a_key_file_that_protects_nothing_is_refused(
    tmp_path: Path, content: bytes | None, kind: type[LittoralError], code: str
) -> None:
    file = tmp_path / "keys"
    if content is not None:
        file.write_bytes(content)

    with pytest.raises(kind) as caught:
        read_api_keys(file)

    assert caught.value.code == code
    assert str(file) in caught.value.message
