"""Where the raw data is and what its columns mean."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from recommender.config.mapping import EventsMapping, FollowsMapping, ItemsMapping, UsersMapping
from recommender.config.raw_files import SHA256, known_encoding
from recommender.config.section import Section


class SyntheticSource(Section):
    """Generated data with a known truth: the default, which a fresh machine can make."""

    kind: Literal["synthetic"] = "synthetic"
    users: int = Field(3000, ge=1)
    """Number of users."""
    items: int = Field(1500, ge=5)
    """Number of items; a page shows five."""
    days: int = Field(120, ge=2)
    """Length of the log in days."""
    sessions_per_user: float = Field(8.0, gt=0)
    """Mean number of visits per user over the whole log."""
    follows: float = Field(0.0, ge=0, le=50)
    """Mean number of people of like taste whom everybody follows; 0: there is no follow graph. The
    events are the same with and without."""

    @property
    def has_follows(self) -> bool:
        """Whether there is a follow graph."""
        return self.follows > 0


class MovieLensSource(Section):
    """MovieLens in any of its official layouts (latest-small, 1M, 25M, 32M), found by its files."""

    kind: Literal["movielens"] = "movielens"
    location: str
    """Folder or zip: a path, `s3://bucket/prefix` or an https URL."""
    sha256: str | None = Field(None, pattern=SHA256)
    """Expected checksum of a downloaded zip; fill in your own, none is invented."""
    encoding: str | None = None
    """Text encoding; default: as published (latin-1 in 1M, UTF-8 in the others)."""
    like_from: float = 4.0
    """A rating of this or more is the event `like`, a lower one `rate`."""

    @property
    def has_follows(self) -> bool:
        """Whether there is a follow graph: MovieLens has none."""
        return False

    @field_validator("encoding")
    @classmethod
    def _encoding(cls, name: str | None) -> str | None:
        return None if name is None else known_encoding(name)


class MappedSource(Section):
    """Any log and catalogue, by a mapping of their columns (see `configs/generic.yaml`)."""

    kind: Literal["mapped"] = "mapped"
    events: EventsMapping
    """The event log."""
    items: ItemsMapping
    """The catalogue."""
    users: UsersMapping | None = None
    """What is known of the users; None: their ids only."""
    follows: FollowsMapping | None = None
    """Who follows whom; None: there is no follow graph."""

    @property
    def has_follows(self) -> bool:
        """Whether there is a follow graph."""
        return self.follows is not None


SourceConfig = Annotated[
    SyntheticSource | MovieLensSource | MappedSource, Field(discriminator="kind")
]
