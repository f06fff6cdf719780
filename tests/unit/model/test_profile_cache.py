"""Profiles are kept by what they are of, and one of something else is refused."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest

from littoral.core.errors import Conflict, Corrupt
from littoral.model.profile import BlockProfile, Profile
from littoral.model.profile_cache import ProfileCache, check_fits, default_folder

ENGINE, MACHINE = "onnxruntime 1.0", "x86_64-here"


def profile(digest: str = "sha256:" + "a" * 64, *, engine: str = ENGINE, machine: str = MACHINE) -> Profile:
    return Profile(
        format=1,
        digest=digest,
        engine=engine,
        machine=machine,
        blocks=[BlockProfile("b0", 1.0, 0.1, 100)],
        boundaries=[],
        whole_ms=1.0,
        prepare_ms=0.0,
        input_bytes=10.0,
        answer_bytes=10.0,
        inputs_real=True,
        spread=0.1,
    )


def test_a_profile_is_found_again_by_digest_engine_and_machine(tmp_path: Path) -> None:
    cache = ProfileCache(tmp_path / "deep" / "cache", machine=MACHINE)
    cache.put(profile())

    assert cache.find(profile().digest, engine=ENGINE) == profile()
    assert cache.find("sha256:" + "b" * 64, engine=ENGINE) is None


@pytest.mark.parametrize(
    ("other", "code"),
    [(profile(machine="arm-there"), "profile_foreign"), (profile(engine="onnxruntime 0.9"), "profile_stale")],
)
def test_a_profile_of_another_machine_or_engine_is_refused_with_what_to_run(
    tmp_path: Path, other: Profile, code: str
) -> None:
    # given a cache folder that another machine, or another engine, has filled
    ProfileCache(tmp_path, machine=other.machine).put(other)

    # when it is asked for here
    with pytest.raises(Conflict) as refused:
        ProfileCache(tmp_path, machine=MACHINE).find(other.digest, engine=ENGINE)

    # then it is not used, and the message says what to run
    assert refused.value.code == code
    assert "littoral profile MODEL --keep" in refused.value.message


def test_a_profile_under_another_models_name_is_stale() -> None:
    with pytest.raises(Conflict) as refused:
        check_fits(profile(), digest="sha256:other", engine=ENGINE, machine=MACHINE)
    assert refused.value.code == "profile_stale"


def test_a_damaged_profile_is_no_profile(tmp_path: Path) -> None:
    cache = ProfileCache(tmp_path, machine=MACHINE)
    cache.put(profile())
    (path,) = tmp_path.glob("*.json")
    path.write_bytes(path.read_bytes()[:50])

    with pytest.raises(Corrupt):
        cache.find(profile().digest, engine=ENGINE)


def test_the_cache_is_bounded_and_the_longest_unused_goes(tmp_path: Path) -> None:
    # given room for three profiles, and three in it of which the first was just used
    size = len(msgspec.json.format(msgspec.json.encode(profile()), indent=1))
    cache = ProfileCache(tmp_path, machine=MACHINE, bytes_max=3 * size + 10)
    digests = ["sha256:" + letter * 64 for letter in "abcd"]
    for age, digest in enumerate(digests[:3]):
        cache.put(profile(digest))
        for path in tmp_path.glob(f"{digest[7:20]}*"):
            os.utime(path, (1000 + age, 1000 + age))
    cache.find(digests[0], engine=ENGINE)

    # when a fourth comes
    cache.put(profile(digests[3]))

    # then the one that was not used for longest is gone
    assert [cache.find(digest, engine=ENGINE) is not None for digest in digests] == [True, False, True, True]


def test_the_users_cache_is_where_the_desktop_standard_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_folder() == tmp_path / "littoral" / "profiles"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert default_folder() == Path.home() / ".cache" / "littoral" / "profiles"
