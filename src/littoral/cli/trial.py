"""Trial pictures: a site of the demo is at work once it has answered one, and knows whom it could have asked instead.

A device that has just started loads, measures and looks around. On a slow one that takes seconds in which it cannot
keep a promise; so its camera begins when this is over.
"""

from __future__ import annotations

import asyncio
import json
import time

from littoral.core.errors import Invalid, LittoralError
from littoral.model import builtin
from littoral.serve.client.async_client import AsyncClient

TRIAL = "trial-"  # how the ids of such requests begin
PATIENCE_S = 5.0  # without a link there is no upstream to know: then the site is at work as it is
EVERY_S = 0.1


async def try_out(url: str, model: str) -> None:
    """Asks a site until it has its upstream among the candidates, or that takes too long."""
    picture = builtin.pictures()[0][0].read_bytes()
    until_s = time.monotonic() + PATIENCE_S
    number = 0
    async with AsyncClient(url, timeout_s=PATIENCE_S, retries=0) as client:
        while time.monotonic() < until_s:
            try:
                answer = await client.predict(
                    model, picture, request_id=f"{TRIAL}{number}", parameters={"explain": True}
                )
                if _knows_an_upstream(str(answer.parameters.get("explanation", ""))):
                    return
            except Invalid:
                return  # a model that takes no pictures
            except LittoralError:
                pass  # not yet
            number += 1
            await asyncio.sleep(EVERY_S)


def _knows_an_upstream(explanation: str) -> bool:
    """Whether an explanation has a way over an upstream that is up."""
    candidates = json.loads(explanation)["candidates"] if explanation else []
    return any("upstream" in one and not one.get("down") for one in candidates)
