"""A process that stores events until it is killed, and says of each when `put` has returned.

    python storing.py FOLDER START

prints a line for each: log, number, body. Three threads put single events, a fourth puts batches and acknowledges.
"""

from __future__ import annotations

import sys
import threading
from itertools import count
from pathlib import Path

from littoral.store.blobs import Blobs
from littoral.store.outbox import Outbox

STREAMS = ("audit", "result", "bulk")


def main(folder: Path, start: int) -> None:
    numbers = count(start)
    told = threading.Lock()
    with Outbox(folder / "outbox", site="edge-1", bytes_max=20_000_000) as outbox:
        blobs = Blobs(folder / "blobs", 50_000_000)

        def tell(*words: object) -> None:
            with told:
                sys.stdout.write(" ".join(map(str, words)) + "\n")
                sys.stdout.flush()

        def put_one(stream: str) -> None:
            while True:
                body = b"%d" % next(numbers)
                key = outbox.put(stream, "reading", body)
                tell("stored", key.log, key.sequence, body.decode())

        def put_many() -> None:
            while True:
                bodies = [b"%d" % next(numbers) for _ in range(20)]
                keys = outbox.put_many([("telemetry", "reading", body) for body in bodies])
                for key, body in zip(keys, bodies, strict=True):
                    tell("stored", key.log, key.sequence, body.decode())
                tell("acknowledged", keys[9].log, keys[9].sequence)
                outbox.acknowledge(keys[9].log, keys[9].sequence)
                tell("blob", blobs.add(bodies[0] * 100_000))

        threads = [threading.Thread(target=put_one, args=(stream,), daemon=True) for stream in STREAMS]
        threads.append(threading.Thread(target=put_many, daemon=True))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
