"""The real model server with a fault: what `OSTINATO_FAULTS` says of the version that it serves.

`{"m-…": "slow" | "errors" | "leak" | "crash"}`, as JSON. Everything else is as it is.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any

from serving import server
from serving.predictor import Predictor

_HELD: list[bytearray] = []


def spoil(fault: str) -> None:
    """Give every prediction a fault."""
    predict = Predictor.predict

    async def faulty(self: Predictor, *given: Any, **more: Any) -> Any:
        if fault == "errors":
            raise RuntimeError("it broke, as it was told to")
        if fault == "slow":
            time.sleep(0.3)
        if fault == "leak":
            _HELD.append(bytearray(os.urandom(1024) * 1024))
        return await predict(self, *given, **more)

    Predictor.predict = faulty  # type: ignore[method-assign]


if __name__ == "__main__":
    version = sys.argv[sys.argv.index("--version") + 1]
    told = json.loads(os.environ.get("OSTINATO_FAULTS", "{}")).get(version, "")
    if told == "crash":
        sys.exit("it crashed at load, as it was told to")
    if told:
        spoil(told)
    server.main()
