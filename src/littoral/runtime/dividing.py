"""Models that are divided with a peer: which splits stand ready, the choice among them, and one request carried.

A split is taken when it is cheaper than every other way by a twentieth at least. The first time that one would win, its
head is opened here and its tail there, and the request goes another way; so nothing is opened that never pays. A peer
that refuses (another digest, no room, no such block) loses the row for a while, and the log says why.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from math import inf

from littoral.core.clock import Clock
from littoral.core.errors import Conflict, Expired, Invalid, LittoralError, Unavailable
from littoral.core.request import InferAnswer, InferRequest, Parameter
from littoral.core.tensor import Tensor, bytes_array
from littoral.model.model import Model
from littoral.monitor.log import log_of
from littoral.monitor.meters import Family
from littoral.net.codec import pack
from littoral.runtime.dividing_meters import split_families
from littoral.runtime.halves import ACTIVATION, CODEC, FRAME, write_frame
from littoral.runtime.parts import HEAD
from littoral.runtime.peer import BLOCK, DIGEST, TAIL_NOT_READY, Peer
from littoral.runtime.placed import Turn, heard, shows, weigh
from littoral.runtime.runtime import Runtime
from littoral.runtime.splits import GAIN_MIN, Here, Priced, Split, Splits
from littoral.runtime.ways import SPLIT, Asked, Way

_LOG = log_of("runtime.dividing")
PREPARE_S = 30.0
REFUSED_S = 60.0
PICTURES_MAX = 16
PICTURE_BYTES_MAX = 512 << 10
LOOK_OUT_S = 2.0
READY, OPENING = "ready", "opening"
HERE_ONLY = frozenset(("deadline_ms", "explain", "stays", "max_escalation", CODEC))


@dataclass(slots=True)
class Divided:
    """One model's splits and how they stand with each peer: ready, opening, or refused until a time."""

    model: Model
    splits: Splits
    peers: tuple[Peer, ...]
    state: dict[tuple[str, str], str] = field(default_factory=dict)
    refused_until_s: dict[tuple[str, str], float] = field(default_factory=dict)

    def may(self, peer: Peer, block: str, now_s: float) -> bool:
        """Whether a peer has not refused this block of late."""
        until = self.refused_until_s
        return now_s >= max(until.get((peer.name, block), -inf), until.get((peer.name, ""), -inf))

    def refuse(self, peer: Peer, block: str, now_s: float) -> None:
        """Takes the rows of a block (of all with "") out for a while."""
        self.refused_until_s[peer.name, block] = now_s + REFUSED_S
        for key in [key for key in self.state if key[0] == peer.name and block in ("", key[1])]:
            del self.state[key]


class Dividing:
    """Every divided model of a node; used from its event loop only."""

    def __init__(self, runtime: Runtime, *, clock: Clock) -> None:
        """`pictures` are some that were asked about, for measuring what codecs do to real inputs."""
        self.models: dict[str, Divided] = {}
        self.pictures: dict[str, deque[bytes]] = {}
        self._runtime = runtime
        self._clock = clock
        self._opening: set[asyncio.Task[None]] = set()
        self._beside: set[asyncio.Task[InferAnswer]] = set()

    def offer(self, model: Model, splits: Splits, peers: Sequence[Peer]) -> None:
        """Allows a model to be divided with these peers, which hold it by digest."""
        present = self.models.get(model.name)
        if present is not None and present.model is model and present.splits is splits:
            present.peers = tuple(peers)
            return
        self.models[model.name] = Divided(model, splits, tuple(peers))

    def keep(self, names: Sequence[str]) -> None:
        """Forgets every divided model but these."""
        self.models = {name: one for name, one in self.models.items() if name in names}

    def watch(self, name: str) -> None:
        """Keeps some pictures of a model's requests from now on."""
        self.pictures.setdefault(name, deque(maxlen=PICTURES_MAX))

    def unwatch(self, name: str) -> None:
        """Forgets them."""
        self.pictures.pop(name, None)

    def better(self, turn: Turn, asked: Asked, way: Way) -> Way:
        """The way, or a split where that is enough cheaper and in time at careful prices."""
        self._look_at(turn)
        divided = self.models.get(turn.request.model)
        if divided is None or turn.cascade is not None or divided.model is not turn.model:
            return way
        best: tuple[Peer, Priced] | None = None
        hopes: dict[Peer, Priced] = {}
        limit_ms = (1.0 - GAIN_MIN) * way.cost_ms
        for peer, one in self._candidates(divided, turn, asked):
            if one.cost_ms < limit_ms and one.careful_ms <= asked.deadline_ms:
                if self._stands(divided, peer, one.split.block) and (best is None or one.cost_ms < best[1].cost_ms):
                    best = peer, one
            elif one.free_ms < limit_ms and (peer not in hopes or _lighter(one, hopes[peer])):
                hopes[peer] = one
        for peer, one in hopes.items():
            if peer.stale and (best is None or peer is not best[0]) and self._stands(divided, peer, one.split.block):
                self._look_out(turn, peer, one.split)
        return way if best is None else Way(SPLIT, best[0], -inf, best[1].cost_ms, best[1].split)

    def rows(self, turn: Turn, asked: Asked, way: Way) -> list[dict[str, object]]:
        """Every split as `explain` shows it."""
        divided = self.models.get(turn.request.model)
        if divided is None or turn.cascade is not None or divided.model is not turn.model:
            return []
        return [
            {
                "plan": SPLIT,
                "upstream": peer.name,
                "block": one.split.block,
                "codec": one.split.codec,
                "cost_ms": round(one.cost_ms, 3),
                "careful_ms": round(one.careful_ms, 3),
                "in_time": one.careful_ms <= asked.deadline_ms,
                "stands": divided.state.get((peer.name, one.split.block), "closed"),
                "chosen": one.split == way.split and peer is way.peer,
                "terms": one.terms,
            }
            for peer, one in self._candidates(divided, turn, asked)
        ]

    async def carry(self, turn: Turn, peer: Peer, split: Split, *, timeout_s: float, useful_s: float) -> InferAnswer:
        """Head here, activation over, tail there; raises `LittoralError` only."""
        started_s = self._clock.monotonic_s()
        divided = self.models.get(turn.request.model)
        head = self._runtime.parts.find(turn.model, split.block, HEAD)
        if head is None or divided is None:
            raise Unavailable("tail_not_ready", "The head is not open any more.")
        asked = replace(
            turn.request,
            model=head.name,
            version=head.version,
            outputs=(),
            parameters={CODEC: split.codec},
            budget_ms=useful_s * 1e3,
        )
        begun = self._runtime.begin(asked)
        made = begun if isinstance(begun, InferAnswer) else await begun
        request = await self._crossing(turn, split, made)
        took_s = self._clock.monotonic_s() - started_s
        if useful_s - took_s <= 0:
            raise Expired("deadline_passed", "The head took all the time there was.")
        try:
            return await peer.ask(
                request,
                timeout_s=timeout_s - took_s,
                useful_s=useful_s - took_s,
                size_bytes=weigh(request),
                expects=turn.expects,
                share=split.share,
            )
        except LittoralError as error:
            self._told(divided, peer, split.block, error)
            raise

    async def close(self) -> None:
        """Gives up on what is being opened, and on look-outs."""
        beside = (*self._opening, *self._beside)
        for task in beside:
            task.cancel()
        await asyncio.gather(*beside, return_exceptions=True)

    def families(self) -> Iterator[Family]:
        """Which splits stand ready."""
        return split_families(
            (name, peer, block, state == READY)
            for name, one in sorted(self.models.items())
            for (peer, block), state in sorted(one.state.items())
        )

    def _look_out(self, turn: Turn, peer: Peer, split: Split) -> None:
        """Divides a request beside its answer, since nothing crossed of late and the link may have changed."""
        peer.looked_out()
        work = self.carry(turn, peer, split, timeout_s=2 * LOOK_OUT_S, useful_s=LOOK_OUT_S)
        task = asyncio.get_running_loop().create_task(work)
        self._beside.add(task)
        task.add_done_callback(self._heard)

    def _heard(self, task: asyncio.Task[InferAnswer]) -> None:
        self._beside.discard(task)
        heard(task)

    def _candidates(self, divided: Divided, turn: Turn, asked: Asked) -> Iterator[tuple[Peer, Priced]]:
        """Every split that is not refused and keeps what must stay, over every peer that may be asked."""
        run_ms = self._runtime.run_ms(turn.request)
        here = Here(run_ms, max(asked.local_ms - run_ms, 0.0))
        now_s = self._clock.monotonic_s()
        for peer in divided.peers:
            for one in divided.splits.priced(peer, turn.target, here):
                if one.split.index + 1 >= turn.pinned and divided.may(peer, one.split.block, now_s):
                    yield peer, one

    def _stands(self, divided: Divided, peer: Peer, block: str) -> bool:
        """Whether both halves are open; if not, they are being opened from now on."""
        state = divided.state.get((peer.name, block))
        if state == READY and self._runtime.parts.find(divided.model, block, HEAD) is not None:
            return True
        if state != OPENING:
            divided.state[peer.name, block] = OPENING
            task = asyncio.get_running_loop().create_task(self._open(divided, peer, block))
            self._opening.add(task)
            task.add_done_callback(self._opening.discard)
        return False

    async def _open(self, divided: Divided, peer: Peer, block: str) -> None:
        """The head here and the tail there."""
        try:
            await self._runtime.parts.open(divided.model, block, HEAD)
            await peer.prepare(divided.model.name, block, divided.splits.digest, timeout_s=PREPARE_S)
        except LittoralError as error:
            self._told(divided, peer, block, error, opening=True)
        except Exception as error:  # noqa: BLE001 - nobody waits for this task: what it met must be told here
            self._told(divided, peer, block, Unavailable("split_failed", repr(error)[:300]), opening=True)
        else:
            divided.state[peer.name, block] = READY
            _LOG.info("A model may be divided.", model=divided.model.name, upstream=peer.name, block=block)

    def _told(self, divided: Divided, peer: Peer, block: str, error: LittoralError, *, opening: bool = False) -> None:
        """Takes out what a peer refused: all rows for another digest, else those of the block."""
        now_s = self._clock.monotonic_s()
        if isinstance(error, Conflict):
            divided.refuse(peer, "", now_s)
        elif error.code == TAIL_NOT_READY and not opening:
            divided.state.pop((peer.name, block), None)  # it was put away there; it is asked for anew
            return
        elif opening or isinstance(error, Invalid) or error.code == "reply_wrong":
            divided.refuse(peer, block, now_s)
        else:
            return
        _LOG.warning(
            f"{divided.model.name} is not divided with {peer.name} after {block}: {error.message}", code=error.code
        )

    async def _crossing(self, turn: Turn, split: Split, made: InferAnswer) -> InferRequest:
        """The request for the tail: what the head made, packed."""
        parameters: dict[str, Parameter] = {
            name: value for name, value in turn.request.parameters.items() if name not in HERE_ONLY
        }
        parameters |= {BLOCK: split.block, DIGEST: turn.model.digest}
        if shows(turn.request, turn.model):
            activation = made.output(ACTIVATION)
            parameters[FRAME] = write_frame(made.output(FRAME).array)
        else:
            packed = await asyncio.to_thread(pack, made.outputs[0].array, split.codec)
            activation = Tensor(ACTIVATION, "BYTES", bytes_array([packed]))
        return replace(turn.request, version="", inputs=(activation,), parameters=parameters)

    def _look_at(self, turn: Turn) -> None:
        """Keeps the picture of a request where some are wanted."""
        kept = self.pictures.get(turn.request.model)
        if kept is not None and len(kept) < PICTURES_MAX and shows(turn.request, turn.model):
            picture = turn.request.inputs[0].array.reshape(-1)[0]
            if len(picture) <= PICTURE_BYTES_MAX:
                kept.append(bytes(picture))


def _lighter(one: Priced, other: Priced) -> bool:
    return one.split.size_bytes < other.split.size_bytes
