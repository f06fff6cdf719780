"""The story of a hub and a site, told with the commands that people type: each step is one that they would take."""

from __future__ import annotations

import json
from pathlib import Path

import httpx

from contract.broker import device, mosquitto
from contract.command import littoral
from contract.edge_stage import ask, stage, until
from littoral.model.self_test import SELF_TEST_NAME, SelfTest, encode_self_test
from models import doubling_onnx

TWICE, THRICE = [2, 4, 6, 8], [3, 6, 9, 12]


def test_a_site_joins_gets_a_model_and_goes_on_while_the_link_is_cut(tmp_path: Path) -> None:
    with stage(tmp_path) as here:
        # given a hub, and a site that joined it over a link with a token
        link, port = here.link("--rate", "50Mbit/s", "--delay", "5ms")
        edge = here.edge(here.join("cam-1", port=port), "--report-s", "1")
        url = f"http://{edge.ready['http']}"
        assert edge.ready["models"] == []

        # when a model is pushed and assigned
        here.push(doubling_onnx(tmp_path / "made" / "m.onnx"), "m")
        here.assign("m", "site=cam-1")

        # then the site serves it, and says so
        until(lambda: littoral("models", "--url", url, "--json").rows, "the site serves a model")
        assert ask(url, "before") == TWICE
        until(lambda: not here.site("cam-1")["difference"], "the site is as desired")

        # when the link is cut
        link.kill()
        cut, _ = here.link("--drop", port=port)
        answers = [ask(url, f"during-{number}") for number in range(20)]

        # then it goes on answering, also after it lost its power and started without the hub
        edge.kill()
        edge.start()
        url = f"http://{edge.ready['http']}"
        assert edge.ready["models"] == ["m"]
        answers += [ask(url, f"rebooted-{number}") for number in range(20)]
        assert answers == [TWICE] * 40
        assert here.results("cam-1").keys() <= {"before"}

        # when the link is back
        cut.kill()
        here.link("--rate", "50Mbit/s", "--delay", "5ms", port=port)
        wanted = {"before"}
        wanted |= {f"rebooted-{number}" for number in range(20)} | {f"during-{number}" for number in range(20)}
        # what was answered in the last moment before the power went need not have been on the disk
        until(lambda: len(here.results("cam-1").keys() & wanted) >= 40, "the hub has the answers")

        # then `events tail` shows everything once
        shown = littoral(
            "events",
            "tail",
            "--site",
            "cam-1",
            "--stream",
            "result",
            "--count",
            "1000",
            "--json",
            "--hub",
            here.hub_folder,
        )
        ids = [row["body"]["id"] for row in shown.rows]
        assert len(ids) == len(set(ids))
        assert set(ids) <= wanted
        assert {"before", *(f"rebooted-{number}" for number in range(20))} <= set(ids)
        assert edge.stop() == 0


def test_a_model_that_fails_its_self_test_is_told_at_the_hub_and_replaces_nothing(tmp_path: Path) -> None:
    with stage(tmp_path) as here:
        # given a site that serves a model
        edge = here.edge(here.join("cam-1"), "--report-s", "1")
        url = f"http://{edge.ready['http']}"
        here.push(doubling_onnx(tmp_path / "made" / "m.onnx"), "m")
        here.assign("m", "*")
        until(lambda: not here.site("cam-1")["difference"], "the site is as desired")

        # when a version comes that computes something else than was recorded
        import numpy as np

        bad = tmp_path / "bad" / "m"
        doubling_onnx(bad / "1" / "model.onnx", factor=3.0)
        row = np.array([[1, 2, 3, 4]], np.float32)
        (bad / SELF_TEST_NAME).write_bytes(encode_self_test(SelfTest({"x": row}, {"y": 2 * row})))
        here.push(bad, "m")
        here.assign("m", "*")

        # then the hub shows why it is not in force, and the old one serves
        def refused() -> bool:
            found = here.site("cam-1")["difference"]
            return bool(found) and found[0]["state"] == "failed"

        until(refused, "the site says that it failed")
        (difference,) = here.site("cam-1")["difference"]
        assert (difference["code"], difference["serving"]) == ("self_test_failed", 1)
        assert ask(url, "still") == TWICE
        kinds = {event["kind"] for event in here.events(site="cam-1", stream="audit")}
        assert {"site_started", "model_applied", "model_failed"} <= kinds


def test_a_site_is_told_its_settings_and_a_push_records_how_the_model_answers_here(tmp_path: Path) -> None:
    import numpy as np

    with stage(tmp_path) as here:
        # given a site, and a model that is pushed with a sample of what it is asked
        here.edge(here.join("cam-1"), "--report-s", "1")
        sample = tmp_path / "sample.npz"
        np.savez(sample, x=np.array([[1, 2, 3, 4]], np.float32))
        model = doubling_onnx(tmp_path / "made" / "m.onnx")
        pushed = littoral("models", "push", model, "--self-test", sample, "--hub", here.hub_folder)
        assert pushed.status == 0, pushed.err
        (version,) = littoral("models", "list", "--hub", here.hub_folder, "--json").rows
        assert version["self_test"]

        # when it is assigned, and the site is told to speak less
        here.assign("m", "*")
        told = ("escalation_share=5%", "upload_bytes_per_hour=5MB/h", "report_every_s=2", "metered=never")
        done = littoral("sites", "set", "cam-1", *told, "--hub", here.hub_folder, "--json")
        assert done.status == 0, done.err
        assert [(row["kind"], row["version"]) for row in done.rows] == [("limits", 1), ("configuration", 1)]

        # then the site lives by all of it, and who comes with an old version changes nothing
        until(lambda: len(here.site("cam-1")["desired"]["documents"]) == 3, "the hub desires all of it")
        until(lambda: not here.site("cam-1")["difference"], "the site is as desired")
        late = littoral("sites", "set", "cam-1", "audit_share=1%", "--expect", "0", "--hub", here.hub_folder)
        assert late.status == 4
        assert "setting_moved" in late.err
        assert '"escalation_share":0.05' in late.err


def test_the_hub_is_an_upstream_over_mutual_tls_and_missed_by_nobody_when_it_is_gone(tmp_path: Path) -> None:
    with stage(tmp_path) as here:
        # given a site and a hub that serve the same model
        here.push(doubling_onnx(tmp_path / "made" / "m.onnx"), "m")
        here.assign("m", "*")
        upstream = f"https://127.0.0.1:{here.models_port}"
        edge = here.edge(here.join("cam-1"), "--report-s", "1", upstream=upstream)
        url = f"http://{edge.ready['http']}"
        until(lambda: not here.site("cam-1")["difference"], "the site is as desired")

        # when a request asks how it was placed
        def explained() -> str:
            tensor = {"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1, 2, 3, 4]}
            body = {"inputs": [tensor], "parameters": {"explain": True}}
            answer = httpx.post(f"{url}/v2/models/m/infer", json=body, trust_env=False).raise_for_status().json()
            return str(answer["parameters"].get("explanation", ""))

        # then the hub is among the ways, known to have the very same model; once it is dead the site still answers
        until(lambda: upstream in explained(), "the hub is a way")
        here.hub.kill()
        assert [ask(url, f"alone-{number}") for number in range(20)] == [TWICE] * 20


def test_a_reading_that_a_device_publishes_is_at_the_hub_once(tmp_path: Path) -> None:
    with mosquitto(tmp_path / "broker") as broker, stage(tmp_path) as here:
        here.edge(here.join("line-3"), "--mqtt", broker.url)
        with device(broker, "littoral/line-3/status") as sensor:
            assert json.loads(sensor.next().payload)["state"] == "online"
            for number in range(10):
                told = ("id", f"reading-{number}")
                sensor.publish("littoral/line-3/reading/result/press", json.dumps({"bar": number}), UserProperty=told)
                sensor.publish("littoral/line-3/reading/result/press", json.dumps({"bar": number}), UserProperty=told)

        def readings() -> list[dict[str, object]]:
            found = here.events(site="line-3", stream="result")
            return [event["body"] for event in found if event["kind"] == "reading"]

        until(lambda: len(readings()) >= 10, "the hub has the readings")
        assert [one["reading"] for one in readings()] == [{"bar": number} for number in range(10)]


def test_who_has_no_right_to_join_does_not(tmp_path: Path) -> None:
    with stage(tmp_path) as here:
        # given a token for one name, and who shows it under another, shows nonsense, or shows it a second time
        token = here.token("cam-1", port=here.hub_port)
        attempts = {"other": (token, "other", 5), "nonsense": ("littoral-join-1.nonsense", "cam-1", 2)}
        refused = {
            name: littoral("join", "--token", shown, "--dir", tmp_path / name, "--site", site)
            for name, (shown, site, _) in attempts.items()
        }
        assert littoral("join", "--token", token, "--dir", tmp_path / "first", "--site", "cam-1").status == 0
        refused["second"] = littoral("join", "--token", token, "--dir", tmp_path / "second", "--site", "cam-1")

        # then each is refused, no secret is told, and no folder becomes a site
        assert {name: done.status for name, done in refused.items()} == {"other": 5, "nonsense": 2, "second": 5}
        assert all(token not in done.err for done in refused.values())
        assert not any((tmp_path / name / "edge.json").exists() for name in refused)
        assert littoral("edge", "run", tmp_path / "second").status == 3
