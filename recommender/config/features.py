"""How user sequences and item text become features."""

from __future__ import annotations

from pydantic import Field

from recommender.config.activity import ActivityConfig
from recommender.config.build import BuildConfig
from recommender.config.expectations import ExpectationsConfig
from recommender.config.freshness import FreshnessConfig
from recommender.config.section import Section
from recommender.config.stream import StreamConfig
from recommender.config.text import TextConfig
from recommender.config.trends import TrendsConfig


class FeaturesConfig(Section):
    """User sequences and item text."""

    history_limit: int = Field(200, ge=1)
    """Most recent events kept in a user's online sequence."""

    build: BuildConfig = BuildConfig()
    """How the sequences of all users are built."""

    text: TextConfig = TextConfig()
    """The text encoders."""

    activity: ActivityConfig = ActivityConfig()
    """How a user's activity is counted."""

    trends: TrendsConfig = TrendsConfig()
    """How demand is forecast."""

    stream: StreamConfig = StreamConfig()
    """How events that arrive one by one reach the online sequences."""

    freshness: FreshnessConfig = FreshnessConfig()
    """How old features may be."""

    expectations: ExpectationsConfig = ExpectationsConfig()
    """What is expected of features, as distributions."""
