"""What starts a run by itself, and how often it may."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from recommender.config.section import Section

Answer = Literal["train", "refresh"]
"""A full training, or a refresh: the champion learns what happened since. Where it can't be
refreshed (there is none, it saw somebody who was forgotten, its settings are others, nothing was
learned …), a full training follows at once."""


class LandedTrigger(Section):
    """What new data lead to."""

    run: Answer = "train"
    """How they are answered."""


class AskedTrigger(Section):
    """What it leads to that somebody asks."""

    run: Answer = "train"
    """How that is answered."""


class DriftTriggers(Section):
    """How far what is there now may be from the last accepted data; null: not looked at."""

    run: Answer = "train"
    """How drift is answered."""

    popularity: float | None = Field(0.3, gt=0, le=1)
    """Jensen–Shannon distance of the items' popularity, 0 (the same) to 1."""

    event_mix: float | None = Field(0.25, gt=0)
    """Population stability index of the event types."""

    features: float | None = Field(0.5, gt=0)
    """Population stability index of the figures of the user features (length of a history, time
    since the last event …); the largest of them counts."""


class QualityTrigger(Section):
    """When what people do with lists has become worse."""

    run: Answer = "train"
    """How that is answered."""

    recent_days: int = Field(3, ge=1)
    """The days that are judged: the last ones of the served log."""

    before_days: int = Field(14, ge=2)
    """The days before them that they are compared with."""

    drop: float = Field(0.1, gt=0, lt=1)
    """Relative loss of successes per list that has to be shown."""

    minimum_users: int = Field(500, ge=2)
    """With fewer users on either side nothing is said."""

    confidence: float = Field(0.99, gt=0.5, lt=1)
    """Level of the interval; looked at daily, a lower one would cry wolf often."""


class TriggersConfig(Section):
    """What starts a run by itself, which one, and how often it may.

    A run answers all causes that wait; if any of them wants a full training, it is one.
    """

    launch: Literal["local", "backend"] = "local"
    """Runs on this machine, or on the Kubeflow Pipelines backend (`backend`)."""

    debounce_s: float = Field(60.0, ge=0)
    """A run starts when nothing more has come for so long: a load of many files is one run."""

    longest_wait_s: float = Field(1800.0, ge=0)
    """Even where something comes all the time, a run starts after this."""

    pause_s: float = Field(3600.0, ge=0)
    """Between the starts of two runs at least; what somebody asks for does not wait for it."""

    concurrency: int = Field(1, ge=1, le=10)
    """Runs at the same time. On one machine they wait for each other whatever this says."""

    poll_s: float = Field(5.0, gt=0)
    """Between two looks at what is due."""

    check_s: float = Field(3600.0, gt=0)
    """Between two looks at the source, at drift and at quality."""

    longest_look_s: float = Field(7200.0, gt=0)
    """After so long without an end to anything (a look at drift takes longest) the receiver says
    that it is ill (503 at `/healthz`), so that whoever watches over it restarts it."""

    most_body_kib: int = Field(64, ge=1)
    """Largest body that is read, KiB."""

    per_minute: int = Field(60, ge=1)
    """Requests of one caller that are answered in a minute; more get 429."""

    clock_tolerance_s: float = Field(300.0, ge=0)
    """How old a signed request may be: a copied one is worthless afterwards."""

    landed: LandedTrigger = LandedTrigger()
    """What new data lead to."""

    asked: AskedTrigger = AskedTrigger()
    """What it leads to that somebody asks."""

    drift: DriftTriggers = DriftTriggers()
    """How far data may move."""

    quality: QualityTrigger = QualityTrigger()
    """How far quality may fall."""
