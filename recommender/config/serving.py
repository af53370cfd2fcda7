"""The served endpoint on one machine."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from recommender.config.compute import ComputeConfig
from recommender.config.exploration import ExplorationConfig
from recommender.config.feedback import FeedbackConfig
from recommender.config.section import Section
from recommender.config.served_log import ServedLogConfig


class ServingConfig(Section):
    """The served endpoint on one machine."""

    name: str = Field("ostinato", pattern=r"^[a-z]([-a-z0-9]{0,40}[a-z0-9])?$")
    """Name of the InferenceService and of the served model."""

    host: str = "127.0.0.1"
    """Address the local router and the model servers listen on."""

    port: int = Field(8085, ge=0, le=65535)
    """Port the local router listens on; 0 picks a free one. If another data set's router has
    this one, a free one is taken, and said."""

    start_timeout_s: float = Field(90.0, gt=0)
    """Longest wait for a model server to become ready."""

    read_deadline_s: float = Field(0.5, gt=0)
    """Longest wait for a user's history; after that the answer is made without it, and says so."""

    refresh_s: float = Field(60.0, gt=0)
    """How often the feature store is asked for new items and for the categories of all. An item
    that came after a model was trained can be recommended from its text after one such round."""

    cold_users: Literal["model", "popular", "trend", "profile", "social"] = "popular"
    """What people without a history are shown: `model`: what the model makes of no history;
    `popular`: what was taken most often; `trend`: what is forecast to be taken most; `profile`:
    `popular`, by the attributes of `evaluation.slices.attributes`; `social`: `popular`, by what
    those whom they follow took, and by profile where the data set has attributes; whoever follows
    nobody that took anything is answered by profile, else by `popular`. It needs a source with a
    follow graph (`source.follows`). The answer becomes part of a model when that is trained, and is
    judged with it. On MovieLens the model's own answer was 68 % worse than `popular`
    (docs/benchmarks.md)."""

    cpu: str = Field("1", pattern=r"^[0-9]+(\.[0-9]+)?m?$")
    """CPU request of a model server on a cluster, as Kubernetes writes it."""

    memory: str = Field("2Gi", pattern=r"^[0-9]+(Ki|Mi|Gi)$")
    """Memory request and limit of a model server on a cluster, as Kubernetes writes it."""

    exploration: ExplorationConfig = ExplorationConfig()
    """How often a served list is not the best one, so that the log can speak about others."""

    log: ServedLogConfig = ServedLogConfig()
    """Where served lists and feedback are logged."""

    feedback: FeedbackConfig = FeedbackConfig()
    """Clicks and conversions that are told to the model server."""

    compute: ComputeConfig = ComputeConfig()
    """How answers are computed."""
