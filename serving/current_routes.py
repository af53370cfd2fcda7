"""`routes.json` as it is at this moment, for a process that asks at every request."""

from __future__ import annotations

import logging
from pathlib import Path

from recommender.errors import ServingError
from serving import routes as routes_file
from serving.routes import Routes

logger = logging.getLogger("ostinato.router")


class RoutesFile:
    """`routes.json` as it is now; a damaged file leaves the routes that were.

    Args:
        path: of the file; it may come later.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, ...] | None = None
        self._routes = Routes()
        self.error = ""

    def current(self) -> Routes:
        """Return the routes; the file is read again only if it was replaced."""
        try:
            found = self._path.stat()
            seen: tuple[int, ...] = (found.st_ino, found.st_mtime_ns, found.st_size)
        except FileNotFoundError:
            seen = ()
        if seen != self._seen:
            self._seen = seen
            try:
                self._routes, self.error = routes_file.read(self._path), ""
            except ServingError as error:
                self.error = error.message
                logger.warning("%s; the routes stay as they were", error.message)
        return self._routes
