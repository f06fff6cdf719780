"""The dashboard that ships asks only for metrics that exist."""

from __future__ import annotations

import json
import re

from docs.collect import ROOT

DASHBOARD = ROOT / "deploy" / "grafana" / "littoral.json"
_SUFFIXES = ("_bucket", "_sum", "_count")


def test_every_metric_of_the_dashboard_is_documented() -> None:
    # given the dashboard's questions, and the page of metrics
    dashboard = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    page = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    documented = set(re.findall(r"^\| `(littoral_[a-z_]+)`", page, flags=re.MULTILINE))

    # when each metric that they name is looked up
    asked = {
        name
        for panel in dashboard["panels"]
        for target in panel["targets"]
        for name in re.findall(r"littoral_[a-z_]+", target["expr"])
    }
    plain = {next((name.removesuffix(end) for end in _SUFFIXES if name.endswith(end)), name) for name in asked}

    # then the page has it
    assert len(plain) >= 10
    assert plain - documented == set()


def test_no_panel_of_the_dashboard_lies_on_another() -> None:
    panels = json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]
    cells = [
        (x, y)
        for panel in panels
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(cells) == len(set(cells))
