"""Sends feedback that names its user on to the event stream, so that the next answer knows of it.

The request id doesn't hold the user, so whoever tells the feedback names them too, and is believed
only if the list was made for that user. The event's id is the feedback's: what the next run finds
in the log of served lists and in the landed stream is one event.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from typing import Any

import httpx
import orjson

from serving.feedback.report import Feedback

TOKEN_VARIABLE = "OSTINATO_STREAM_TOKEN"  # noqa: S105 - the name of a variable
_BATCH = "application/cloudevents-batch+json"
_TIMEOUT_S = 3.0

logger = logging.getLogger("ostinato.feedback")


class Stream:
    """The HTTP door of the event stream.

    Args:
        url: of its `/events`.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._client: httpx.AsyncClient | None = None

    async def send(self, events: Sequence[tuple[str, Feedback]]) -> bool:
        """Send events; return whether all of them are in their sequences.

        Args:
            events: user ids and what they did.
        """
        if self._client is None:
            token = os.environ.get(TOKEN_VARIABLE, "").strip()
            headers = {"content-type": _BATCH} | (
                {"authorization": f"Bearer {token}"} if token else {}
            )
            self._client = httpx.AsyncClient(timeout=_TIMEOUT_S, headers=headers)
        body = orjson.dumps([_event(user, told) for user, told in events])
        try:
            answer = await self._client.post(self._url, content=body)
        except httpx.TransportError as error:
            logger.warning("the event stream can't be reached: %s", type(error).__name__)
            return False
        if answer.status_code != 200:
            # Its text names what is wrong with the event, and may name the user.
            logger.warning("the event stream answered HTTP %s", answer.status_code)
        return answer.status_code == 200


def _event(user: str, told: Feedback) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "event_id": told.event_id,
        "user_id": user,
        "item_id": told.item_id,
        "event": told.action,
        "time": told.time,
    }
    if told.value is not None:
        fields["value"] = told.value
    return {
        "specversion": "1.0",
        "id": told.event_id,
        "source": "/ostinato/feedback",
        "type": told.action,
        "data": fields,
    }
