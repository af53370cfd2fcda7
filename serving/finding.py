"""What is known of whoever asks: read from the feature store, in time or not at all."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Protocol, TypeVar

from serving.ask import Ask, Events, Fallback
from serving.breaker import Breaker
from serving.ranking import Found

logger = logging.getLogger("ostinato.finding")

_READERS = 16
_FAILURES = 3
_PAUSE_S = 1.0
_Read = TypeVar("_Read")


class Reader(Protocol):
    """Where histories and profiles come from; safe to share between threads.

    Attributes:
        surfaces: whether to read where events happened.
        follows: whether a profile holds what those took whom somebody follows.
    """

    surfaces: bool
    follows: bool

    @property
    def feature_service(self) -> str:
        """Name of the feature service that is read: what a served model must name."""
        ...

    def read(self, user_id: str) -> Events | None:
        """Return a user's history, oldest first; None if the user is not known.

        Raises:
            FeatureError: the store can't be read.
        """
        ...

    def profile(self, user_id: str) -> Mapping[str, str] | None:
        """Return what is known of a user besides events; None for an unknown one.

        Raises:
            FeatureError: the store can't be read.
        """
        ...


class Finder:
    """Reads in threads, with one deadline per request; a store that fails fails no request.

    After three reads in a row that failed or came too late the store is left alone for a pause of
    a second, and then tried by one request at a time, until it answers (`Breaker`).

    Args:
        reader: of histories and profiles.
        deadline_s: longest wait of a request for all that it reads.
        pause_s: how long a store that does not answer is left alone.
    """

    def __init__(self, reader: Reader, deadline_s: float, pause_s: float = _PAUSE_S) -> None:
        self._reader = reader
        self._deadline_s = deadline_s
        self._breaker = Breaker(_FAILURES, pause_s)
        self._threads = ThreadPoolExecutor(_READERS, "read")
        self.profiles = False
        self.everybody = False

    def reads(
        self, *, profiles: bool, everybody: bool, surfaces: bool, follows: bool = False
    ) -> None:
        """Say what the model reads.

        Args:
            profiles: whether it matters who somebody without history is.
            everybody: whether it matters who anybody is.
            surfaces: whether it matters where events happened.
            follows: whether it matters what those took whom somebody without history follows.
        """
        self.profiles, self.everybody = profiles, everybody
        self._reader.surfaces, self._reader.follows = surfaces, follows

    async def found(self, ask: Ask) -> Found:
        """Find the history of whoever asks; the profile too where it matters.

        The profile of somebody with a history is read only if `everybody` says so, that of somebody
        without one if `profiles` does. Both reads of one request run at the same time.
        """
        events = ask.events
        if not self._reads_for(ask):
            return Found(events or Events())
        # Asked once per request: while the store is tried again, only one question is let through.
        if not self._breaker.lets_through():
            if events is None:
                return Found(fallback=Fallback.STORE_UNAVAILABLE)
            return Found(events)
        found, answered = await self._all(ask)
        if answered:
            self._breaker.succeeded()
        else:
            self._breaker.failed()
        return found

    def _reads_for(self, ask: Ask) -> bool:
        """Tell whether anything is to be read."""
        if ask.events is None:
            return True
        matters = self.everybody or (self.profiles and not ask.events.items)
        return ask.user_id is not None and matters

    async def _all(self, ask: Ask) -> tuple[Found, bool]:
        """Return what was found, and whether the store answered whatever it was asked."""
        started = time.perf_counter()
        if self.everybody and ask.user_id is not None:
            (found, told), (answered, profile) = await asyncio.gather(
                self._history(ask, started), self._read(self._reader.profile, ask.user_id, started)
            )
            spent = time.perf_counter() - started
            return replace(found, profile=profile, read_s=spent), told and answered
        return await self._history(ask, started)

    async def _history(self, ask: Ask, started: float) -> tuple[Found, bool]:
        events, fallback = ask.events, None
        if events is None:
            answered, events = await self._read(self._reader.read, ask.user_id or "", started)
            if not answered:
                spent = time.perf_counter() - started
                return Found(fallback=Fallback.STORE_UNAVAILABLE, read_s=spent), False
            fallback = Fallback.UNKNOWN_USER if events is None else None
        answered, profile = True, None
        cold = self.profiles and not self.everybody and not (events and events.items)
        if cold and ask.user_id is not None:
            answered, profile = await self._read(self._reader.profile, ask.user_id, started)
        spent = time.perf_counter() - started
        return Found(events or Events(), fallback, profile, spent), answered

    async def _read(
        self, read: Callable[[str], _Read | None], user: str, started: float
    ) -> tuple[bool, _Read | None]:
        """Return whether the store answered, and what."""
        loop = asyncio.get_running_loop()
        left = self._deadline_s - (time.perf_counter() - started)
        reading = loop.run_in_executor(self._threads, read, user)
        try:
            answer = await asyncio.wait_for(reading, max(left, 0.001))
        except TimeoutError:
            logger.warning("the feature store took longer than %s s", self._deadline_s)
        except asyncio.CancelledError:
            raise
        except Exception as error:  # noqa: BLE001 whatever a store client raises
            logger.warning("the feature store can't be read: %s", error)
        else:
            return True, answer
        return False, None
