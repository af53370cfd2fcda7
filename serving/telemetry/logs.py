"""One JSON object per line of the log. No user ids: only pseudonyms get here."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import Any

FIELDS = "fields"
"""`logger.info("…", extra={FIELDS: {…}})` adds named values to the line."""

REQUESTS = "ostinato.requests"
"""The logger of one line per answer."""


class JsonLines(logging.Formatter):
    """Formats a record as one JSON object: `time`, `level`, `logger`, `message`, and its fields."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        import orjson

        moment = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        told: dict[str, Any] = {
            "time": moment.replace("+00:00", "Z"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        told |= getattr(record, FIELDS, {})
        if record.exc_info:
            told["trace"] = self.formatException(record.exc_info)
        return orjson.dumps(told, default=str).decode()
