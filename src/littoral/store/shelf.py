"""All logs of an outbox as memory has them: which there are, where new events go, in what order they leave."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from littoral.store.disk import Connection
from littoral.store.rows import Birth, real, row_id
from littoral.store.rules import LogState, Order, StreamRule
from littoral.store.tables import Log, forget_log, read_logs, save_birth, save_log

LOGS_MAX = 64
"""Logs of one stream; beyond that fresh events join the backlog."""
BACKLOG_BYTES = 65_536
"""Less than this is no backlog, however old: it leaves with the next batch."""
HEARD_S = 30.0
"""How long after an acknowledgement the link counts as alive."""


class Shelf:
    """The logs by number, saved with each transaction and read back after one that failed."""

    def __init__(
        self, connection: Connection, site: str, rules: Mapping[str, StreamRule], draw_log: Callable[[], str]
    ) -> None:
        self._connection = connection
        self._site = site
        self._rules = rules
        self._draw_log = draw_log
        self._logs: dict[int, Log] = {}
        self._saved: dict[int, tuple[float, ...]] = {}
        self._current: dict[str, Log] = {}
        self._number_last = 0
        self._forgotten: list[Log] = []  # removed in the transaction that is open

    def load(self) -> None:
        """Reads every log from the disk; what the receiver acknowledged meanwhile is kept, and so are current logs."""
        asked = {log.birth: log.asked for log in [*self._logs.values(), *self._forgotten]}
        self._forgotten.clear()
        current = {log.birth for log in self._current.values()}
        self._logs = read_logs(self._connection)
        self._saved = {number: log.state for number, log in self._logs.items()}
        self._number_last = max(self._logs, default=0)
        self._current = {log.birth.stream: log for log in self._logs.values() if log.birth in current}
        for log in self._logs.values():
            log.asked = max(log.acked, min(asked.get(log.birth, 0), log.last))

    def save(self) -> None:
        """Writes down what changed since the last time; a log with nothing left to say goes."""
        for number, log in list(self._logs.items()):
            if log.acked >= log.last and log is not self._current.get(log.birth.stream):
                forget_log(self._connection, log)
                del self._logs[number]
                self._forgotten.append(log)
            elif self._saved.get(number) != log.state:
                save_log(self._connection, log)
                self._saved[number] = log.state

    def saved(self) -> None:
        """What was saved is on the disk."""
        self._forgotten.clear()

    def __iter__(self) -> Iterator[Log]:
        return iter(list(self._logs.values()))

    def named(self, name: str) -> Log | None:
        """The log of that name, if it is here."""
        return next((log for log in self._logs.values() if log.birth.name == name), None)

    def of_stream(self, stream: str) -> list[Log]:
        """A stream's logs from the oldest on."""
        return [log for log in self._logs.values() if log.birth.stream == stream]

    def bytes_of(self, stream: str) -> int:
        """What a stream's entries take."""
        return sum(log.bytes for log in self._logs.values() if log.birth.stream == stream)

    def rule(self, stream: str) -> StreamRule:
        """A stream's rule; what no rule names any more is still sent, after everything else."""
        return self._rules.get(stream) or StreamRule(stream, priority=-1)

    def streams(self) -> set[str]:
        """The streams that have logs."""
        return {log.birth.stream for log in self._logs.values()}

    def log_for(self, stream: str, *, lived_s: float, silent_s: float) -> Log:
        """The log that takes a stream's next event; `silent_s` is how long ago the receiver was heard.

        It is a new one after every start, and where fresh events shall go ahead of a backlog: then only once the
        receiver is there again, for while it is away nothing leaves anyhow.
        """
        log = self._current.get(stream)
        if log is None:
            return self._begin(stream)
        rule = self.rule(stream)
        may_split = rule.order is Order.FRESH and silent_s <= HEARD_S and log.bytes >= BACKLOG_BYTES
        if not may_split or len(self.of_stream(stream)) >= LOGS_MAX:
            return log
        is_behind = lived_s - self.oldest_s(log, lived_s) > rule.behind_s
        return self._begin(stream) if is_behind else log

    def oldest_s(self, log: Log, lived_s: float) -> float:
        """When a log's oldest event came, by the store's time; now where it has none."""
        if log.oldest_s is None:
            span = row_id(log.number, log.first), row_id(log.number, log.last)
            asked = "SELECT lived_s FROM entries WHERE id BETWEEN ? AND ? AND last = 0 ORDER BY id LIMIT 1"
            found = next(self._connection.rows(asked, span), (lived_s,))[0]
            log.oldest_s = real(found)
        return log.oldest_s

    def states(self) -> list[LogState]:
        """The logs with something to send, in the order to be sent.

        Higher priorities first. Of a stream in kept order only the oldest log is shown; of a FRESH one the newest comes
        first, then the backlog from the oldest on.
        """
        shown: list[LogState] = []
        for stream in self.streams():
            rule = self.rule(stream)
            waiting = [log for log in self.of_stream(stream) if not log.is_empty]
            if rule.order is Order.KEPT:
                waiting = waiting[:1]
            elif waiting and waiting[-1] is self._current.get(stream):
                waiting = [waiting[-1], *waiting[:-1]]
            shown += [self._state(log, rule) for log in waiting]
        return sorted(shown, key=lambda state: (-state.priority, state.stream))

    def _begin(self, stream: str) -> Log:
        self._number_last += 1
        log = Log(Birth(self._number_last, self._draw_log(), self._site, stream))
        save_birth(self._connection, log.birth)
        self._logs[log.number] = self._current[stream] = log
        return log

    def _state(self, log: Log, rule: StreamRule) -> LogState:
        is_fresh = log is self._current.get(log.birth.stream)
        birth = log.birth
        return LogState(birth.name, birth.site, rule, log.first, log.last, log.count, log.bytes, is_fresh)
