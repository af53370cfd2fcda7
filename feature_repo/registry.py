"""The registry of definitions: trusted code, so it is looked at before Feast reads it.

A registry carries functions (the on-demand views), and whoever reads it runs them. So only
`apply` writes it, and whoever else opens it does so with rights to read (README: "Trust"). What
is read is checked first: Feast itself takes an empty registry for one without views, and one of
another version for damaged.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from feature_repo.sqlite import explained
from recommender.errors import FeatureError

ENTITY_KEYS = "3"
"""Serialization version of entity keys: with another one no row of an online store is found."""

_FEAST, _KEYS = "feast", "entity_key_serialization_version"
_TABLES = {"projects", "feature_views", "feature_services", "entities"}
_APPLY = "apply the definitions: `ostinato run`, or `feast -c feature_repo apply`"


@dataclass(frozen=True)
class Registry:
    """A SQL registry, looked at without Feast's reader.

    Attributes:
        url: for SQLAlchemy; may hold a password, so it is in no `repr`.
        shown: what messages call it.
        path: the file of an embedded one; None: it is on a server.
    """

    url: str = field(repr=False)
    shown: str
    path: Path | None = None

    def check(self, project: str) -> None:
        """Make sure that a project can be read as it was applied.

        Raises:
            FeatureError: the registry is missing, unreachable, damaged, or doesn't hold this
                project; it was applied by another version of Feast or for another version of
                entity keys; or it is silent about views.
        """
        if self.path is not None and not self.path.exists():
            raise FeatureError(f"there is no registry at {self.path}", _APPLY)
        with self.explaining(), self._connection() as rows:
            self._check_tables(rows)
            tags = self._tags(rows, project)
            self._check_versions(project, tags)
            self._check_views(rows, project)

    def check_before_apply(self, project: str) -> None:
        """Make sure that definitions may be applied: a newer Feast's are not overwritten.

        Raises:
            FeatureError: the registry is unreachable or damaged, or a newer Feast applied it.
        """
        with self.explaining(), self._connection() as rows:
            if rows.tables() >= _TABLES and (tags := self._tags(rows, project, missing_ok=True)):
                theirs, ours = tags.get(_FEAST, "0"), version("feast")
                if _release(theirs) > _release(ours):
                    raise _another_version(self.shown, theirs, ours)

    def _check_tables(self, rows: _Rows) -> None:
        missing = _TABLES - rows.tables()
        if missing:
            raise FeatureError(
                f"{self.shown} holds no definitions (it lacks {', '.join(sorted(missing))})", _APPLY
            )

    def _tags(self, rows: _Rows, project: str, *, missing_ok: bool = False) -> dict[str, str]:
        from feast.protos.feast.core.Project_pb2 import Project

        found = rows.of("projects", "project_id", "project_proto", project)
        if not found:
            if missing_ok:
                return {}
            raise FeatureError(f"{self.shown} has no project {project!r}", _APPLY)
        ((_, proto),) = found
        return dict(_parsed(Project, proto, f"the project {project}", self.shown).spec.tags)

    def _check_versions(self, project: str, tags: dict[str, str]) -> None:
        theirs, ours = tags.get(_FEAST), version("feast")
        if theirs is None:
            raise FeatureError(
                f"{self.shown} doesn't say which Feast applied the project {project!r}", _APPLY
            )
        if _release(theirs) != _release(ours):
            raise _another_version(self.shown, theirs, ours)
        if tags.get(_KEYS) != ENTITY_KEYS:
            raise FeatureError(
                f"{self.shown} is for entity keys of version {tags.get(_KEYS)}, this is version "
                f"{ENTITY_KEYS}: no row would be found",
                f"{_APPLY}, and materialize again",
            )

    def _check_views(self, rows: _Rows, project: str) -> None:
        from feast.protos.feast.core.FeatureView_pb2 import FeatureView

        views = rows.of("feature_views", "feature_view_name", "feature_view_proto", project)
        if not views:
            raise FeatureError(f"{self.shown} has no views of the project {project!r}", _APPLY)
        for name, proto in views:
            view = _parsed(FeatureView, proto, f"the view {name}", self.shown)
            if view.spec.name != name:
                raise _damaged(self.shown, f"the view {name} calls itself {view.spec.name!r}")

    @contextmanager
    def explaining(self) -> Iterator[None]:
        """Turn what the database says into a `FeatureError` that names the registry.

        Raises:
            FeatureError: in place of an error of SQLAlchemy or of the database below it.
        """
        try:
            yield
        except FeatureError:
            raise
        except Exception as error:
            if (explanation := self.explanation(error)) is None:
                raise
            raise explanation from error

    def explanation(self, error: Exception) -> FeatureError | None:
        """Return what a database's error means for whoever asked; None if it is no such error."""
        cause = getattr(error, "orig", error)
        if self.path is not None and isinstance(cause, sqlite3.Error):
            return explained(self.path, str(cause))
        if not type(cause).__module__.startswith("psycopg"):
            return None
        # Of a failed statement only the first line: the rest repeats the statement.
        said = (str(cause).strip().splitlines() or [type(cause).__name__])[0]
        hint = "see that the database server runs and can be reached from here"
        if "permission denied" in said:
            hint = "this account may only read; only `apply` writes the registry, as its owner"
        elif "password" in said or "authentication" in said:
            hint = "check the user and the password in OSTINATO_REGISTRY"
        return FeatureError(f"{self.shown} can't be used: {said}", hint)

    @contextmanager
    def _connection(self) -> Iterator[_Rows]:
        from sqlalchemy import create_engine
        from sqlalchemy.pool import NullPool

        with create_engine(self.url, poolclass=NullPool).connect() as connection:
            yield _Rows(connection)


@dataclass(frozen=True)
class _Rows:
    connection: Any

    def tables(self) -> set[str]:
        from sqlalchemy import inspect

        return set(inspect(self.connection).get_table_names())

    def of(self, table: str, name: str, proto: str, project: str) -> list[tuple[str, bytes]]:
        """Return (name, proto) of one project's rows."""
        from sqlalchemy import column, select
        from sqlalchemy import table as named

        columns: tuple[Any, ...] = (column(name), column(proto), column("project_id"))
        wanted = select(*columns[:2]).select_from(named(table, *columns))
        found = self.connection.execute(wanted.where(columns[2] == project))
        return [(str(each[0]), bytes(each[1])) for each in found]


def stamp() -> dict[str, str]:
    """Return the tags by which a reader knows who applied a project."""
    return {_FEAST: version("feast"), _KEYS: ENTITY_KEYS}


def embedded(path: Path, *, read_only: bool = False) -> Registry:
    """Return the registry in a SQLite file."""
    # SQLite's own URI: a file that isn't there is an error, and is not made.
    url = f"{path.absolute().as_uri()}?mode=ro&uri=true" if read_only else path
    return Registry(f"sqlite:///{url}", f"the registry {path}", path)


def _parsed(kind: Any, proto: bytes, what: str, shown: str) -> Any:
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    try:
        return kind.FromString(proto)
    except DecodeError as error:
        raise _damaged(shown, f"{what} can't be read") from error


def _damaged(shown: str, what: str) -> FeatureError:
    return FeatureError(
        f"{shown} is damaged: {what}",
        "restore it, or empty it and apply again: definitions are code, nothing is lost but the "
        "record of what was materialized",
    )


def _another_version(shown: str, theirs: str, ours: str) -> FeatureError:
    return FeatureError(
        f"{shown} was applied by Feast {theirs}, and this is Feast {ours}",
        "use the same version on both sides: install that one here, or apply again with this one"
        if _release(theirs) < _release(ours)
        else f"install Feast {theirs} here; a newer registry isn't overwritten by an older Feast",
    )


def _release(text: str) -> tuple[int, ...]:
    """Return major and minor version; patches don't change the format."""
    return tuple(int(part) if part.isdigit() else 0 for part in text.split(".")[:2])
