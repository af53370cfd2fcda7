"""Any log and catalogue by a mapping of their columns."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from recommender.config.mapping import ItemsMapping
from recommender.config.raw_files import FilesConfig
from recommender.config.source import MappedSource
from recommender.sources.archive import sha256
from recommender.sources.catalogue import map_items, named_items
from recommender.sources.events import map_events
from recommender.sources.fetch import fetch
from recommender.sources.follows import map_follows
from recommender.sources.groups import first_seen, widened
from recommender.sources.people import map_users
from recommender.sources.raw import Raw, RawFiles
from recommender.sources.report import IngestReport, SourceFile
from recommender.tables import Tables


class MappedFiles:
    """The raw files of a mapped source, on this machine; nothing is read yet.

    Args:
        config: the mapping.
        cache: folder for downloads and copies.

    Raises:
        SourceError: a location is empty, unreadable, or has no file that is meant.
        StorageError: S3 refuses or can't be reached, or the disk is full.
    """

    def __init__(self, config: MappedSource, cache: Path) -> None:
        self.config = config
        self.events = _find("events", config.events, cache)
        self.items = _find("items", config.items, cache) if config.items.location else None
        users = config.users
        self.users = _find("users", users, cache) if users and users.location else None
        self.follows = _find("follows", config.follows, cache) if config.follows else None

    def described(self) -> list[SourceFile]:
        """Return every file with the hash of its content, each once."""
        found = {}
        for files in (self.events, self.items, self.users, self.follows):
            for path in files.paths if files else ():
                if path not in found and files:
                    found[path] = SourceFile(
                        files.fetched.name(path),
                        files.fetched.location,
                        sha256(path),
                        path.stat().st_size,
                    )
        return list(found.values())

    def read(self, report: IngestReport) -> Tables:
        """Turn the files into canonical tables.

        Every file's columns are looked at before the first is read as a whole.

        Raises:
            SourceError: a column is missing or doesn't hold what it is mapped to; a file is
                empty, damaged or in another encoding.
        """
        config = self.config
        log_columns = [*config.events.needed, *self._from_log()]
        self.events.check(log_columns)
        if self.items:
            self.items.check(_item_columns(config.items))
        if self.users and config.users:
            self.users.check([config.users.user, *config.users.attributes])
        if self.follows and config.follows:
            self.follows.check(config.follows.needed)
        user = frozenset({config.events.columns.user})
        raw = self.events.read(log_columns, private=user)
        events, log = map_events(raw, config.events, report)
        sold = named_items(events) if config.items.only_with_events else None
        items = map_items(self._raw_items(log), config.items, sold, report)
        users = map_users(events, self._raw_users(log), config.users, report)
        tables = Tables(events, items, users, self._edges(report))
        report.rows_kept = {name: getattr(tables, name).num_rows for name in report.rows_read}
        report.rows_kept["users"] = users.num_rows
        return tables

    def _edges(self, report: IngestReport) -> pa.Table | None:
        mapping = self.config.follows
        if mapping is None or self.follows is None:
            return None
        ends = frozenset({mapping.user, mapping.followed})
        return map_follows(self.follows.read(mapping.needed, private=ends), mapping, report)

    def _from_log(self) -> list[str]:
        """Return the columns of the log that catalogue and users are derived from."""
        needed: list[str] = []
        if self.items is None:
            needed += _item_columns(self.config.items)
        if self.config.users and self.users is None:
            needed += [self.config.users.user, *self.config.users.attributes]
        return needed

    def _raw_items(self, log: Raw) -> Raw:
        mapping = self.config.items
        columns = mapping.columns
        if self.items is None:
            return first_seen(log, "items", columns.item, _beside_id(mapping))
        wanted = _item_columns(mapping)
        if mapping.long is not None:
            raw = self.items.read(wanted)
            return widened(raw, columns.item, mapping.long, _beside_id(mapping))
        return self.items.read(wanted, frozenset(wanted) - {columns.item})

    def _raw_users(self, log: Raw) -> Raw | None:
        mapping = self.config.users
        if mapping is None:
            return None
        if self.users is None:
            return first_seen(log, "users", mapping.user, mapping.attributes)
        wanted = [mapping.user, *mapping.attributes]
        user = frozenset({mapping.user})
        return self.users.read(wanted, frozenset(mapping.attributes) - user, private=user)


def _find(table: str, config: FilesConfig, cache: Path) -> RawFiles:
    return RawFiles.find(table, config, fetch(config.location, cache, config.sha256))


def _item_columns(mapping: ItemsMapping) -> list[str]:
    if mapping.long is not None:
        long = mapping.long
        since = [long.time] if long.time is not None else []
        return [mapping.columns.item, long.property, long.value, *since]
    return [mapping.columns.item, *_beside_id(mapping)]


def _beside_id(mapping: ItemsMapping) -> list[str]:
    """Return the columns (or properties) of an item beside its id."""
    tested = [rule.column for rule in mapping.drop]
    names = dict.fromkeys([*mapping.columns.described, *tested])
    return [name for name in names if name != mapping.columns.item]
