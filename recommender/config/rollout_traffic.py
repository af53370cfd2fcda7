"""What a rollout watches besides replayed users: copied, live and leaking."""

from __future__ import annotations

from pydantic import Field

from recommender.config.section import Section


class ShadowConfig(Section):
    """The optional first step: the candidate answers a copy of the live traffic, to nobody."""

    enabled: bool = False
    """Whether a rollout begins with it; `ostinato rollout start --shadow` switches it on."""

    percent: float = Field(100.0, gt=0, le=100)
    """Share of the live users whose requests are copied."""

    requests: int = Field(200, ge=1)
    """Compared requests that a verdict needs."""

    users: int = Field(20, ge=2)
    """Users that they must come from."""

    maximum_wait_s: float = Field(3600.0, gt=0)
    """Longest wait for so many; a candidate that could not be compared by then goes back."""

    minimum_overlap: float = Field(0.0, ge=0, le=1)
    """Least mean share of the champion's items that the candidate recommends, too. Two good models
    may differ a lot, so nothing is asked by default; a refresh of the same model may ask 0.5."""

    minimum_rank_correlation: float = Field(-1.0, ge=-1, le=1)
    """Least mean rank correlation of the scores of the items that both recommend."""

    queue: int = Field(64, ge=1, le=10_000)
    """Copies that may wait or be under way; what comes while it is full is not copied."""


class LiveConfig(Section):
    """The candidate gets its share of the live traffic."""

    look_every_s: float = Field(5.0, gt=0)
    """How often the evidence is judged; the tests allow for any number of looks."""

    attribution_s: float = Field(600.0, ge=0)
    """How long after a list was served a reaction to it counts; a list is judged once that is
    over, the same for both arms."""

    users_per_arm: int = Field(100, ge=20)
    """With fewer users in either arm in a step there is no verdict: the tests on live traffic rest
    on means over users."""

    maximum_wait_s: float = Field(86_400.0, gt=0)
    """Longest time in one step, beyond its soak; what holds by then goes back."""

    error_margin: float = Field(0.0, ge=0, lt=1)
    """A candidate whose share of failed requests is shown to be above the champion's by more than
    this (absolute) is rolled back."""


class MemoryConfig(Section):
    """What a candidate's memory may do, where the target can measure it."""

    growth_mib: float = Field(256.0, gt=0)
    """A candidate whose memory keeps rising and has grown by this much more than the champion's
    is rolled back."""

    samples: int = Field(12, ge=6)
    """Measurements before there is a verdict."""
