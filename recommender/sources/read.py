"""The one door: a configuration in, canonical tables and an account of what became of each row."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from recommender.config import Config
from recommender.config.source import MappedSource, SyntheticSource
from recommender.errors import SourceError
from recommender.forgetting.suppression import Suppressions
from recommender.sources.mapped import MappedFiles
from recommender.sources.movielens import as_mapping
from recommender.sources.report import IngestReport, SourceFile
from recommender.tables import Tables


@dataclass(frozen=True)
class Source:
    """Raw data that lies on this machine (or is generated), not yet read.

    Attributes:
        config: the whole configuration.
        raw: the files; None where the data is generated.
        files: every raw file with the hash of its content.
    """

    config: Config
    raw: MappedFiles | None
    files: tuple[SourceFile, ...]

    @classmethod
    def open(cls, config: Config) -> Source:
        """Bring the raw files here.

        Raises:
            SourceError: nothing is there, a checksum is wrong, or the mapping names event types
                that `actions.types` lacks.
            StorageError: S3 refuses or can't be reached, or the disk is full.
        """
        source = config.source
        if isinstance(source, SyntheticSource):
            return cls(config, None, ())
        cache = config.paths.cache
        mapping = source if isinstance(source, MappedSource) else as_mapping(source, cache)
        _check_types(mapping, config)
        raw = MappedFiles(mapping, cache)
        return cls(config, raw, tuple(raw.described()))

    def read(self) -> tuple[Tables, IngestReport]:
        """Turn the raw files into canonical tables, without whoever asked to be forgotten.

        Raises:
            SourceError: a file or the mapping is wrong; names the file, row, column and example.
            ConfigError: the suppression list was written with another pseudonym key.
        """
        report = IngestReport(files=list(self.files))
        tables = self._generated(report) if self.raw is None else self.raw.read(report)
        _check_found(tables, self.config)
        return Suppressions(self.config.paths).kept_out(tables, report), report

    def _generated(self, report: IngestReport) -> Tables:
        from recommender.sources.synthetic import generate

        assert isinstance(self.config.source, SyntheticSource)  # noqa: S101 - narrows the type
        tables = generate(self.config.source, self.config.seed)
        report.rows_kept = {name: getattr(tables, name).num_rows for name in tables.names}
        report.rows_read = dict(report.rows_kept)
        return tables


def read(config: Config) -> tuple[Tables, IngestReport]:
    """Read a configuration's source; see `Source.open` and `Source.read`."""
    return Source.open(config).read()


def _check_types(mapping: MappedSource, config: Config) -> None:
    known = config.actions.types
    for name in mapping.events.types.named:
        if name not in known:
            raise SourceError(
                f"source.events.types gives the event type {name!r}, which actions.types lacks "
                f"(it has {', '.join(known)})",
                "add it to actions.types, or rename it",
            )


def _check_found(tables: Tables, config: Config) -> None:
    """Refuse a log without any event of a configured type; single strays are for validation."""
    counts = Counter(dict(_counted(tables)))
    if not any(name in config.actions.types for name in counts):
        found = ", ".join(f"{name} ({count:,})" for name, count in counts.most_common(8))
        raise SourceError(
            f"no event has a type of actions.types ({', '.join(config.actions.types)}); the log "
            f"has {found}",
            "map them with source.events.types.rename, or correct actions.types",
        )


def _counted(tables: Tables) -> list[tuple[str, int]]:
    counted = tables.events["event"].value_counts().to_pylist()
    return [(str(pair["values"]), pair["counts"]) for pair in counted]
