"""A client with several servers: one takes over from another without a failed request, and gives back."""

from __future__ import annotations

import socket
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import anyio
import numpy as np
import pytest

from contract.command import serving
from contract.scripted import answer, drop, hang, scripted_server
from littoral.core.errors import Invalid, LittoralError, NotFound, Unavailable
from littoral.serve.client.async_client import AsyncClient
from littoral.serve.client.client import Client
from models import doubling_onnx

ROW = {"x": np.array([[1, 2, 3, 4]], np.float32)}
GOOD = {
    "model_name": "m",
    "model_version": "1",
    "outputs": [{"name": "y", "datatype": "FP32", "shape": [2], "data": [1, 2]}],
}
FULL = {"error": "No room.", "code": "queue_full", "retry_after_ms": 30_000}
UNKNOWN = {"error": "No such model.", "code": "model_unknown"}

Ask = Callable[..., str]


def _sync(urls: list[str], *, deadline_ms: float | None = None, **options: object) -> str:
    with Client(urls, retries=0, **options) as client:  # type: ignore[arg-type]
        return client.infer("m", ROW, deadline_ms=deadline_ms).model


def _async(urls: list[str], *, deadline_ms: float | None = None, **options: object) -> str:
    async def ask() -> str:
        async with AsyncClient(urls, retries=0, **options) as client:  # type: ignore[arg-type]
            return (await client.infer("m", ROW, deadline_ms=deadline_ms)).model

    return anyio.run(ask)


@pytest.fixture(params=[_sync, _async], ids=["sync", "async"])
def ask(request: pytest.FixtureRequest) -> Ask:
    """One inference by either client; a failed round is not repeated."""
    found: Ask = request.param
    return found


def nobody() -> str:
    """An address where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest.mark.parametrize("failing", [drop, hang, answer(429, FULL), answer(503, {"error": ""}), answer(404, UNKNOWN)])
def test_where_the_first_fails_the_second_answers_the_same_request(ask: Ask, failing: Callable[..., bool]) -> None:
    # given a first server that closes, hangs, has no room, is away or lacks the model, and a second that answers
    with scripted_server(failing) as first, scripted_server(answer(200, GOOD)) as second:
        # when one request is made
        model = ask([first.url, second.url], deadline_ms=1_500)

    # then it is answered, with the id of the first try and the time that is left
    assert model == "m"
    told = [float(came.headers["littoral-deadline-ms"]) for came in (first.came[0], second.came[0])]
    assert told[1] < told[0]
    assert [b'"id":' in came.body for came in (first.came[0], second.came[0])] == [True, True]
    assert first.came[0].body[:60] == second.came[0].body[:60]


def test_where_nobody_is_at_the_first_the_second_answers(ask: Ask) -> None:
    with scripted_server(answer(200, GOOD)) as second:
        assert ask([nobody(), second.url]) == "m"


def test_what_is_wrong_with_a_request_is_told_by_the_first_and_no_other_is_asked(ask: Ask) -> None:
    wrong = {"error": "No.", "code": "shape_wrong"}
    with (
        scripted_server(answer(400, wrong)) as first,
        scripted_server(answer(200, GOOD)) as second,
        pytest.raises(Invalid),
    ):
        ask([first.url, second.url])

    assert second.came == []


@pytest.mark.parametrize(
    ("first", "second", "kind"),
    [(answer(404, UNKNOWN), drop, NotFound), (drop, answer(404, UNKNOWN), Unavailable)],
)
def test_where_all_fail_the_first_one_says_why(
    ask: Ask, first: Callable[..., bool], second: Callable[..., bool], kind: type[LittoralError]
) -> None:
    with scripted_server(first) as one, scripted_server(second) as two, pytest.raises(kind):
        ask([one.url, two.url])

    assert len(one.came) == len(two.came) == 1


def test_one_that_is_away_costs_the_requests_after_it_nothing() -> None:
    with (
        scripted_server(hang) as first,
        scripted_server(answer(200, GOOD)) as second,
        Client([first.url, second.url], timeout_s=1.0) as client,
    ):
        for _ in range(50):
            client.infer("m", ROW)

    inferences = [came for came in first.came if came.line.startswith("POST")]
    assert len(inferences) == 1
    assert len(second.came) == 50


def test_loading_changes_the_first_server_only() -> None:
    with (
        scripted_server(answer(200, {})) as first,
        scripted_server(answer(200, {})) as second,
        Client([first.url, second.url]) as client,
    ):
        client.load("m")
        client.unload("m")

    assert (len(first.came), len(second.came)) == (2, 0)


def test_several_are_ready_if_one_is() -> None:
    with scripted_server(answer(200, {})) as second, Client([nobody(), second.url]) as client:
        assert client.ready()
    with Client([nobody(), nobody()]) as client:
        assert not client.ready()


def test_a_client_without_an_address_is_refused() -> None:
    with pytest.raises(Invalid):
        Client([])


def test_an_edge_that_is_killed_is_taken_over_and_gets_its_requests_back_without_one_failing(tmp_path: Path) -> None:
    # given an edge and a hub with the same model, and four who ask all the time
    model = doubling_onnx(tmp_path / "m.onnx")
    seen: Counter[str] = Counter()
    failed: list[LittoralError] = []
    stopped = threading.Event()

    def until(site: str) -> None:
        """Waits until the site answers."""
        before = seen[site]
        for _ in range(3_000):
            if seen[site] > before + 20:
                return
            assert not failed
            stopped.wait(0.01)
        pytest.fail(f"{site} never answered: {seen}")

    with serving("--site", "hub", model) as hub, serving("--site", "edge", model) as edge:
        port = edge.ready["http"].rpartition(":")[2]
        with Client([edge.url, hub.url], timeout_s=20) as client:

            def asking() -> None:
                while not stopped.is_set():
                    try:
                        answer = client.infer("m", ROW, deadline_ms=10_000)
                    except LittoralError as error:
                        failed.append(error)
                        return
                    assert answer["y"].tolist() == [[2, 4, 6, 8]]
                    seen[answer.site] += 1

            with ThreadPoolExecutor(4) as crowd:
                running = [crowd.submit(asking) for _ in range(4)]
                try:
                    # when the edge is killed and comes back, twice, and then the hub is killed
                    until("edge")
                    edge.process.kill()
                    edge.process.wait()
                    until("hub")
                    with serving("--site", "edge", "--http-port", port, model) as again:
                        until("edge")
                        again.process.kill()
                        again.process.wait()
                        until("hub")
                    with serving("--site", "edge", "--http-port", port, model):
                        until("edge")
                        hub.process.kill()
                        hub.process.wait()
                        until("edge")
                        stopped.set()
                        for one in running:
                            one.result()
                finally:
                    stopped.set()

    # then both have answered, and no request failed
    assert failed == []
    assert set(seen) == {"edge", "hub"}
