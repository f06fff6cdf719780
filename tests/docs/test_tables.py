"""The pages that list what the source has say the same as the source: manifest, metrics, limits, names, figures."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any, Literal, get_args, get_origin
from urllib.request import urlopen

import msgspec
import pytest
from benchmarks import table
from benchmarks.lines import read

import littoral
from docs.collect import ROOT, fenced, sections, tables
from littoral.cli.own_server import own_server
from littoral.cli.scenario_file import read_scenario
from littoral.core.clock import ManualClock
from littoral.edge.serving import Options
from littoral.edge.settings import NodeSettings
from littoral.edge.uplink import families as uplink_families
from littoral.edge.upstreams import address_families
from littoral.hub.door_limits import DoorLimits
from littoral.hub.settings import HubFile
from littoral.hub.table import all_verbs
from littoral.hub.tally import GAUGES, Tally
from littoral.model.manifest import (
    CascadeSection,
    InputSection,
    Manifest,
    OutputSection,
    QualitySection,
    RunSection,
    SignatureSection,
    TensorSection,
)
from littoral.model.tasks.recoding import JPEG
from littoral.monitor.drift import SAMPLES_MIN, reference_of
from littoral.monitor.meters import Family, Meters
from littoral.net.desired import PollCounts
from littoral.net.flow_meters import families as flow_families
from littoral.net.resume import Carried
from littoral.net.sending import Sender
from littoral.net.sending_terms import SendingCounts
from littoral.plan.cascade import Calibration, CurvePoint, Gate
from littoral.runtime.cascading import Cascade
from littoral.runtime.dividing_meters import profile_families, split_families
from littoral.runtime.drifting import ModelDrift, drift_families
from littoral.runtime.packing import Form
from littoral.runtime.peer import Peer
from littoral.runtime.placed import Counts
from littoral.runtime.placer import Placer
from littoral.runtime.placing_meters import families
from littoral.serve.grpc_limits import GrpcLimits
from littoral.serve.http_limits import HttpLimits
from littoral.serve.mqtt_door import DoorCounts
from littoral.serve.mqtt_door import families as door_families
from littoral.serve.openapi import openapi
from littoral.serve.upstream import Upstream
from littoral.store.rules import Tally as Lost
from littoral.testing.engines import ScriptedEngine, scripted_model

MODELS, METRICS, PROTOCOL = (ROOT / "docs" / name for name in ("models.md", "metrics.md", "protocol.md"))
PYTHON = ROOT / "docs" / "python.md"
LOST = Lost("result", "age", 1, 100)
HUB = ROOT / "docs" / "hub.md"
SECTIONS: dict[str, type[msgspec.Struct]] = {
    "The model": Manifest,
    "`[input]`": InputSection,
    "`[output]`": OutputSection,
    "`[run]`": RunSection,
    "`[quality]`": QualitySection,
    "`[cascade]`": CascadeSection,
    "`[signature]`": SignatureSection,
}
RESULTS = ROOT / "benchmarks" / "results"
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
WORDS: dict[Any, str] = {
    str: "text",
    int: "whole number",
    float: "number",
    bool: "true or false",
    list[str]: "list of text",
    dict[str, str]: "table of text",
    tuple[int, int]: "two whole numbers",
    tuple[int, ...]: "list of whole numbers",
    tuple[float, ...]: "list of numbers",
    tuple[TensorSection, ...]: "list of tensors",
}


def described(struct: type[msgspec.Struct]) -> dict[str, tuple[str, str]]:
    """Key > type and default, in the page's words; a section of its own is no key."""
    found = {}
    for field in msgspec.structs.fields(struct):
        kinds = [kind for kind in get_args(field.type) if kind is not type(None)]
        kind = kinds[0] if type(None) in get_args(field.type) else field.type
        if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
            continue
        default = field.default if field.default is not msgspec.NODEFAULT else None
        if field.default_factory is not msgspec.NODEFAULT:
            default = field.default_factory()
        words = (
            f"one of {', '.join(f'`{it}`' for it in get_args(kind))}" if get_origin(kind) is Literal else WORDS[kind]
        )
        found[field.encode_name] = (words, "needed" if field.required else shown(default))
    return found


def shown(value: object) -> str:
    """A default as the page writes it."""
    if value is None:
        return "none"
    if value in ("", [], {}, ()):
        return "empty"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{list(value)}`" if isinstance(value, tuple | list) else f"`{value}`"


def rows_of(text: str) -> dict[str, list[str]]:
    """First cell, without its code marks, > the other cells, of all tables in a text."""
    return {row[0].strip("`"): row[1:] for rows in tables(text) for row in rows}


@pytest.mark.parametrize("heading", SECTIONS)
def test_every_key_of_a_manifest_is_documented_with_its_type_and_default(heading: str) -> None:
    # given a section of the page
    texts = sections(MODELS, level=3)
    text = next(text for title, text in texts.items() if title.startswith(heading.strip("`")))

    # when its first table is read
    told = {row[0].strip("`"): (row[1], row[2]) for row in tables(text.partition("\n## ")[0])[0]}

    # then it has each key once, as the source has it
    assert told == described(SECTIONS[heading])


def test_every_key_of_a_signatures_tensor_is_documented() -> None:
    text = next(text for title, text in sections(MODELS, level=3).items() if title.startswith("[signature]"))

    assert {row[0].strip("`"): (row[1], row[2]) for row in tables(text)[1]} == described(TensorSection)


def test_no_section_of_a_manifest_is_missing_from_the_page() -> None:
    documented = {struct.__name__ for struct in SECTIONS.values()}

    needed = {
        kind.__name__
        for field in msgspec.structs.fields(Manifest)
        for kind in (field.type, *get_args(field.type))
        if isinstance(kind, type) and issubclass(kind, msgspec.Struct)
    }

    assert needed - documented == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_manifest_that_a_page_shows_is_one(page: Path) -> None:
    for text in fenced(page, "toml"):
        if "[[expect]]" not in text:
            msgspec.convert(tomllib.loads(text), Manifest)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_scenario_that_a_page_shows_is_one(page: Path) -> None:
    for text in fenced(page, "toml"):
        if "[[expect]]" in text:
            assert read_scenario(text)[1] == []


def test_every_key_of_a_scenario_is_documented() -> None:
    # given the keys that each kind of table may have, as a wrong key is answered with them
    heads = {"site.a": "[site.a]\n", "step[1]": "[[step]]\n", "expect[1]": "[[expect]]\n"}
    known = set()
    for place, head in heads.items():
        _, faults = read_scenario(f"{head}no_such = 1\n")
        told = next(it.fault.expected for it in faults if it.fault.key == f"{place}.no_such")
        known |= set(told.removeprefix("one of ").split(", "))

    # then the page names each
    text = (ROOT / "docs" / "sim.md").read_text(encoding="utf-8")
    assert {key for key in known if f"`{key}" not in text} == set()


def busy_flows() -> Iterator[Family]:
    """A site's flows whose link was measured."""
    sender = Sender(Random(1))
    sender.throughput.link.add(1000, 50, now_s=0.0)
    told = flow_families("s", sender=sender, polls=PollCounts(), desired_version=1, blobs=Carried(), now_s=1.0)
    yield from told


def busy_drift() -> ModelDrift:
    """A model of which enough was seen to judge."""
    drift = ModelDrift(scripted_model(ScriptedEngine()), {"score": reference_of([float(one) for one in range(200)])})
    for _ in range(SAMPLES_MIN):
        drift.add({"score": 1.0})
    return drift


def busy_placer() -> Placer:
    """A placer that has placed a request, knows a link, a cascade and a codec."""
    peer = Peer("cloud", None, clock=ManualClock())  # type: ignore[arg-type]
    peer.link_up.add(1000, 10, now_s=0)
    gate = Gate((0.0,) * 5, (0.0,) * 4, (1.0,) * 4)
    cascade = Cascade("big", Calibration(gate, (CurvePoint(0.5, 0.3, 0.01, 0.02),), 0.02, 0.95, 100), (peer,))
    placer = Placer(None, [peer], clock=ManualClock(), cascades={"m": cascade})  # type: ignore[arg-type]
    placer.packing.forms["m"] = {JPEG: Form(JPEG, 0.01)}
    placer.counts["m"] = Counts({"local": 1}, {"upstream_late": 1})
    return placer


def busy_tally() -> Tally:
    """A hub's counts, one of each kind."""
    tally = Tally(sites=lambda: {"present": 1}, gauges=lambda: dict.fromkeys(GAUGES, 1.0))
    tally.stream("result")
    tally.refusals["key_refused"] += 1
    tally.request("/v1/events", 200)
    return tally


def test_every_metric_is_documented_with_its_type_and_labels() -> None:
    # given meters that have counted something of everything
    meters = Meters()
    meters.model("m", "1").refuse("queue_full")
    meters.loads.labels("m", "ok").inc()
    meters.door_requests.labels("http", "200").inc()
    meters.connections.labels("http").set(1)
    meters.watch(lambda: split_families([("m", "cloud", "b0", True)]))
    meters.watch(lambda: profile_families([("m", "measured")]))
    meters.watch_states(lambda: {"READY": 1})
    meters.watch(lambda: families(busy_placer()))
    meters.watch(lambda: address_families([Upstream("http://hub:8000")]))
    sent = SendingCounts(failures={"lost": 1})
    meters.watch(lambda: uplink_families("cam-1", sent, {"result": 1}, [LOST], connected=True))
    meters.watch(busy_flows)
    meters.watch(lambda: drift_families([busy_drift()]))
    meters.watch(lambda: door_families(DoorCounts({"reading": 1}, {"reading_wrong": 1}), "b:1883", connected=True))
    meters.watch(busy_tally().families)

    # when they are collected
    counted = {}
    for family in meters.registry.collect():
        suffix = "_total" if family.type == "counter" else ""
        labels = {name for sample in family.samples for name in sample.labels} - {"le"}
        counted[family.name + suffix] = (family.type, labels)

    # then the page's table is the same
    told = {
        name: (row[0], set(row[1].split(", ")) - {"-"}) for name, row in rows_of(METRICS.read_text("utf-8")).items()
    }
    assert told == counted


def test_every_metric_that_a_running_server_shows_is_documented() -> None:
    # given a server that has answered something at a door
    with own_server([]) as server:
        urlopen(f"http://{server.http}/v2", timeout=10).close()

        # when its metrics are read
        with urlopen(f"http://{server.http}/metrics", timeout=10) as reply:
            text = reply.read().decode()

    # then the page has each of them
    shown_now = set(re.findall(r"^# TYPE (littoral_\w+)", text, flags=re.MULTILINE))
    told = set(rows_of(METRICS.read_text(encoding="utf-8")))
    assert "littoral_door_requests_total" in shown_now
    assert {name for name in shown_now if not name.endswith("_created")} - told == set()


@pytest.mark.parametrize(("heading", "limits"), [("HTTP limit", HttpLimits()), ("gRPC limit", GrpcLimits())])
def test_every_limit_is_documented_with_its_default(heading: str, limits: HttpLimits | GrpcLimits) -> None:
    text = PROTOCOL.read_text(encoding="utf-8")
    part = text[text.index(f"| {heading} |") :].partition("\n\n")[0]

    told = {name: row[0] for name, row in rows_of(part).items()}

    assert told == {field.name: str(getattr(limits, field.name)) for field in fields(limits)}


def test_every_route_is_documented_with_its_methods() -> None:
    # given the door's own description
    paths = openapi("0")["paths"]
    methods = {path: {name.upper() for name in item} - {"PARAMETERS"} for path, item in paths.items()}

    # when the page's table is read
    told = {route: set(row[0].split(", ")) for route, row in rows_of(sections(PROTOCOL)["HTTP"]).items()}

    # then it has each route, but for those with a version, of which it speaks in a sentence
    assert told == {path: words for path, words in methods.items() if "{version}" not in path}


def test_every_name_of_the_face_is_documented() -> None:
    told = set(rows_of(PYTHON.read_text(encoding="utf-8").partition("\n## ")[0]))

    assert told == set(littoral.__all__) - {"__version__"}


def test_every_option_of_serving_is_documented_and_can_be_given() -> None:
    told = {name.strip("` ") for cell in rows_of(sections(PYTHON)["Serving"]) for name in cell.split(", ")}

    assert told == set(Options.__annotations__)
    assert told <= {field.name for field in fields(NodeSettings)}


@pytest.mark.parametrize("name", sorted({*table.RENDERERS, *(file.stem for file in RESULTS.glob("*.jsonl"))}))
def test_a_table_of_figures_is_the_one_that_its_file_gives(name: str) -> None:
    # given the pages that show this table, and perhaps a file of results
    begin, end = table.marks(name)
    blocks = [page.read_text("utf-8").partition(begin)[2].partition(end)[0].strip() for page in PAGES]
    blocks = [block for block in blocks if block]
    results = RESULTS / f"{name}.jsonl"

    # when there are results
    if results.is_file():
        # then a page shows them, as they are drawn anew
        drawn = table.render(read(results)).strip()
        assert blocks, f"no page shows {results.name}; give one the marks {begin} and {end}"
        assert [block for block in blocks if block != drawn] == []
    else:
        # otherwise no page shows figures
        assert [block for block in blocks if not block.startswith("This table has not been measured yet")] == []


def test_a_table_is_read_as_its_cells() -> None:
    text = "Words\n\n| a | b |\n|---|---|\n| `x` | one of `p`, `q` |\n| y | 2 |\n\n| c | d |\n|---|---|\n| z | 3 |\n"

    assert tables(text) == [[["`x`", "one of `p`, `q`"], ["y", "2"]], [["z", "3"]]]
    assert re.fullmatch("x", next(iter(rows_of(text))))


def test_every_route_of_the_hub_is_documented_with_its_methods_and_what_they_need() -> None:
    # given the hub's own table of routes
    parts: Any = SimpleNamespace(limits=DoorLimits(), clock=ManualClock())
    nothing: Any = None
    wanted = {
        (verb.path, verb.method, " or ".join(verb.needs))
        for verb in all_verbs(parts, nothing, nothing, Meters(), nothing)
    }

    # when the page's rows are read
    rows = next(rows for rows in tables(HUB.read_text(encoding="utf-8")) if rows[0][0].startswith("`/v1/"))
    told = {
        (path.strip("`"), method, needs.replace("`", ""))
        for path, methods, needs, _ in rows
        for method in methods.split(", ")
    }

    # then they are the same
    assert told == wanted


def test_every_limit_of_the_hubs_door_and_every_key_of_its_file_is_documented() -> None:
    told = rows_of(HUB.read_text(encoding="utf-8"))

    limits = {field.name: str(getattr(DoorLimits(), field.name)) for field in fields(DoorLimits)}
    keys = {field.encode_name: "needed" if field.required else None for field in msgspec.structs.fields(HubFile)}
    assert {name: told.get(name, [""])[0] for name in limits} == limits
    assert set(keys) <= set(told)
