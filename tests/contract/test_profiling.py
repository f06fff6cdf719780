"""A server profiles its models beside the requests, once, and finds what it measured when it starts again."""

from __future__ import annotations

import re
import time
from pathlib import Path
from urllib.request import urlopen

import msgspec

from contract import command
from contract.split_stage import lay_out_funnel
from littoral.model.profile import read_profile


def state_of_profile(url: str) -> str:
    with urlopen(f"{url}/metrics") as reply:
        found = re.search(r'littoral_profile\{model="funnel",state="(\w+)"\} 1.0', reply.read().decode())
    return found[1] if found else ""


def until_profiled(url: str) -> str:
    until_s = time.monotonic() + 60
    while (state := state_of_profile(url)) not in ("measured", "cached"):
        assert time.monotonic() < until_s, f"it was never profiled: {state!r}"
        time.sleep(0.1)
    return state


def test_a_model_is_profiled_on_first_load_and_found_in_the_cache_on_the_next(tmp_path: Path) -> None:
    # given a model that nobody has profiled
    folder, cache = lay_out_funnel(tmp_path / "models", width=32, depth=2), tmp_path / "cache"

    # when it is served, twice
    states = []
    for _ in range(2):
        with command.serving(folder, "--cache", cache) as server:
            states.append(until_profiled(server.url))
            assert server.stop() == 0

    # then it was measured once, with nothing but made-up inputs, and the profile is of this file
    assert states == ["measured", "cached"]
    (path,) = cache.glob("*.json")
    kept = read_profile(path)
    assert not kept.inputs_real
    assert len(kept.blocks) > 1

    # and when another machine's profile lies there instead, it is refused with what to run, and measured anew
    path.write_bytes(msgspec.json.encode(msgspec.structs.replace(kept, machine="somewhere-else")))
    with command.serving(folder, "--cache", cache) as server:
        told = server.until_told("is not used")
        assert until_profiled(server.url) == "measured"
    assert "littoral profile MODEL --keep" in told["message"]
    assert read_profile(path).machine == kept.machine


def test_a_profile_that_was_made_by_hand_is_kept_where_a_server_finds_it(tmp_path: Path) -> None:
    # given a profile with pictures, kept by the verb
    folder, cache = lay_out_funnel(tmp_path / "models", width=32, depth=2), tmp_path / "cache"
    done = command.littoral("profile", folder / "funnel", "--rounds", "5", "--cache", cache)
    assert done.status == 0, done.err

    # when a server starts, then it uses that
    with command.serving(folder, "--cache", cache) as server:
        assert until_profiled(server.url) == "cached"
    (path,) = cache.glob("*.json")
    assert read_profile(path).inputs_real


def test_a_server_without_upstreams_and_without_a_cache_measures_nothing(tmp_path: Path) -> None:
    with command.serving(lay_out_funnel(tmp_path / "models", width=32, depth=2)) as server:
        assert state_of_profile(server.url) == ""
