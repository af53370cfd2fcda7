"""The thread that carries feedback from the ledger to the sink."""

from __future__ import annotations

import logging
import threading
import time

from recommender.errors import StorageError
from serving.feedback.ledger import Ledger
from serving.served_log.sinks import Sink

logger = logging.getLogger("ostinato.feedback")

_PORTION = 10_000
_LONGEST_PAUSE_S = 60.0


class Outbox:
    """Writes the ledger's rows every so often, and what waits when it is closed.

    What the sink does not take stays in the ledger and is tried again with growing pauses.

    Args:
        ledger: what was told.
        sink: where it goes.
        every_s: pause between two writes.
        keep_s: how long written rows stay, so that they are told from repeated ones.
    """

    def __init__(self, ledger: Ledger, sink: Sink, every_s: float, keep_s: float) -> None:
        self._ledger = ledger
        self._sink = sink
        self._every_s = every_s
        self._keep_ms = int(keep_s * 1000)
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="feedback-outbox", daemon=True)
        self._thread.start()

    def close(self, wait_s: float = 10.0) -> None:
        """Write what waits, and end; a second call does nothing.

        Args:
            wait_s: longest wait; what the sink has not taken stays for the next server.
        """
        self._closing.set()
        self._thread.join(wait_s)
        if not self._thread.is_alive():
            self._sink.close()

    def _run(self) -> None:
        pause = self._every_s
        while not self._closing.wait(pause):
            done = self._write()
            pause = self._every_s if done else min(2 * pause, _LONGEST_PAUSE_S)
        self._write()

    def _write(self) -> bool:
        try:
            while self._ledger.drain(self._sink.feedback, _PORTION) == _PORTION:
                pass
            self._ledger.prune(time.time_ns() // 1_000_000 - self._keep_ms)
        except StorageError as error:
            logger.warning("feedback waits to be written: %s", error.message)
            return False
        except Exception:
            # A thread that ended would leave feedback in the ledger for good.
            logger.exception("feedback waits to be written")
            return False
        return True
