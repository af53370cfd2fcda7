"""Where the raw data is and what its columns mean."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from recommender.config.section import Section


class SyntheticSource(Section):
    """Generated data with a known truth: the default, which a fresh machine can make."""

    kind: Literal["synthetic"] = "synthetic"
    users: int = Field(3000, ge=1)
    """Number of users."""
    items: int = Field(1500, ge=1)
    """Number of items."""
    days: int = Field(120, ge=2)
    """Length of the log in days."""
    sessions_per_user: float = Field(8.0, gt=0)
    """Mean number of visits per user over the whole log."""


class MovieLensSource(Section):
    """MovieLens in any of its official layouts (latest-small, 1M, 25M, 32M), found by its files."""

    kind: Literal["movielens"] = "movielens"
    location: str
    """Folder or zip: a path, `s3://bucket/prefix` or an https URL."""
    sha256: str | None = None
    """Expected checksum of a downloaded zip; fill in your own, none is invented."""
    like_from: float = 4.0
    """A rating of this or more is the event `like`, a lower one `rate`."""


SourceConfig = Annotated[SyntheticSource | MovieLensSource, Field(discriminator="kind")]
