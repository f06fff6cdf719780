"""A site with only a broker between it and its hub, each a process: nothing lost, nothing believed unsigned."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from contract.broker import device, mosquitto
from contract.edge_stage import Running, Stage, ask, stage, until
from littoral.core.event import Event
from littoral.net.batch import encode_batch
from littoral.net.mqtt_flows import ROOT
from models import doubling_onnx

SITE = "press-7"
NOWHERE = "https://127.0.0.1:9"  # nobody listens on the discard port: the hub's own doors are out of reach


def _edge(one: Stage, folder: Path, broker_url: str, *more: str | Path) -> Running:
    return one.edge(folder, "--hub-mqtt", broker_url, "--hub", NOWHERE, "--report-s", "1", *more)


def _hub_at(one: Stage, broker_url: str) -> None:
    one.hub.stop()
    one.hub.arguments += ["--mqtt", broker_url]
    one.hub.start()


def _is_present(one: Stage) -> bool:
    return bool(one.site(SITE)["site"]["state"] == "present")


def test_a_site_behind_a_broker_delivers_each_answer_once_though_broker_hub_and_site_die(tmp_path: Path) -> None:
    # given a site that joined over the network, and from then on has only a broker
    doubling_onnx(tmp_path / "own" / "m" / "1" / "model.onnx")
    with mosquitto(tmp_path / "broker") as broker, stage(tmp_path) as one:
        _hub_at(one, broker.url)
        edge = _edge(one, one.join(SITE), broker.url, "--durable", tmp_path / "own")
        until(lambda: _is_present(one), "the hub hears the site over the broker")

        # when it answers while the broker dies and forgets, the hub dies, and it dies itself
        def answer(name: str) -> None:
            for number in range(5):
                ask(f"http://{edge.ready['http']}", f"{name}-{number}")

        answer("calm")
        broker.kill()
        answer("without-broker")
        (broker.folder / "mosquitto.db").unlink(missing_ok=True)
        broker.start()
        one.hub.kill()
        answer("without-hub")
        edge.kill()
        one.hub.start()
        edge.start()
        answer("again")

        # then each answer took effect once
        names = ("calm", "without-broker", "without-hub", "again")
        wanted = Counter({f"{name}-{number}": 1 for name in names for number in range(5)})
        until(lambda: one.results(SITE).keys() >= wanted.keys(), "all answers are at the hub")
        assert one.results(SITE) == wanted


def test_what_a_broker_makes_up_is_refused_and_a_model_says_that_it_cannot_come_this_way(tmp_path: Path) -> None:
    # given a site behind a broker
    with mosquitto(tmp_path / "broker") as broker, stage(tmp_path) as one:
        guarded = broker.url.replace("mqtt://", "mqtt://press:sesame-42@")
        _hub_at(one, guarded)
        edge = _edge(one, one.join(SITE), guarded)
        until(lambda: _is_present(one), "the hub hears the site over the broker")

        # when somebody at the broker speaks as the site, and as the hub
        with device(broker) as other:
            forged = encode_batch(SITE, [Event(SITE, "forged", 1, "result", "made_up", 0.0, b"{}")])
            other.publish(f"{ROOT}/{SITE}/events", forged, CorrelationData=b"x")
            other.publish(f"{ROOT}/{SITE}/desired", b'{"version": 99, "documents": []}', CorrelationData=b"x")

        # then the hub says so, and nothing of it counts
        told = until(lambda: [it for it in one.events() if it["kind"] == "letter_refused"], "the refusal is an event")
        assert told[0]["body"]["site"] == SITE
        assert not [it for it in one.events(site=SITE) if it["kind"] == "made_up"]

        # when a model is assigned, which is a file
        one.push(doubling_onnx(tmp_path / "made" / "m.onnx"), "m")
        one.assign("m", "*")

        # then the twin says why it is not there, and the site goes on
        def model() -> dict[str, Any]:
            found: dict[str, Any] = next((it for it in one.site(SITE)["difference"] if it["state"] == "failed"), {})
            return found

        until(model, "the site says why")
        assert (model()["kind"], model()["code"]) == ("model", "files_not_carried")
        assert edge.process is not None and edge.process.poll() is None

        # and nobody wrote the broker's password down
        assert "sesame-42" not in edge.told() + one.hub.told() + str(edge.ready) + str(one.hub.ready)
