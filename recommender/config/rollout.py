"""The canary: steps, samples and guardrails."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from recommender.config.rollout_targets import RolloutTargetsConfig
from recommender.config.rollout_traffic import LiveConfig, MemoryConfig, ShadowConfig
from recommender.config.section import Section


class RolloutConfig(Section):
    """The canary: steps, samples and guardrails."""

    target: Literal["local", "kserve", "gitops"] = "local"
    """Where models are served: processes of this machine, an InferenceService, or a Git repository
    that a controller follows."""

    traffic: Literal["replay", "live"] = "replay"
    """Whom the candidate is judged by: held-out users who are replayed beside the live traffic, or
    the people themselves, a share of whom it then serves."""

    steps: tuple[int, ...] = (5, 25, 50, 100)
    """Percent of the users that the candidate gets, step by step. A step whose share can't bring
    `minimum_users_per_arm` together from the held-out users at hand is left out, and said."""

    soak_s: tuple[float, ...] = ()
    """Least seconds that each step is watched, one value per step; the last one holds for the steps
    after it. None at all: a step ends with its verdict. Only time in which somebody watches
    counts, so a rollout that was cut off goes on with what remains."""

    minimum_users_per_arm: int = Field(30, ge=2)
    """With fewer users in either arm there is no verdict, and never a pass."""

    maximum_users: int = Field(3000, ge=10)
    """At most this many held-out users are replayed; a hash chooses them."""

    k: int = Field(10, ge=1, le=1000)
    """Items asked for in a request; a hit is a success among them."""

    outcome_events: int = Field(5, ge=1)
    """How many of a user's next success events count: the request is a hit if any of their items
    was recommended."""

    concurrency: int = Field(4, ge=1, le=64)
    """Requests under way at the same time."""

    request_timeout_s: float = Field(10.0, gt=0)
    """A request that takes longer has failed."""

    maximum_error_rate: float = Field(0.01, ge=0, le=1)
    """A candidate that is shown to fail more requests than this is rolled back; one that may is
    not promoted."""

    maximum_latency_ratio: float = Field(3.0, gt=0)
    """A candidate whose p95 latency is shown to be above this multiple of the champion's is rolled
    back; one whose p95 looks so is not promoted."""

    good_latency_ms: float = Field(50.0, ge=0)
    """A p95 latency up to this is good, whatever multiple of the champion's it is."""

    hit_rate_margin: float = Field(0.0, ge=0, lt=1)
    """A candidate whose hit rate is shown to be lower by more than this (absolute) is rolled
    back at any step."""

    hit_rate_kept: float = Field(0.5, ge=0, le=1)
    """Share of the champion's hit rate that a candidate must be shown to keep before it gets
    everybody. Not failing is not enough: with too few users to tell, the champion stays. The gate
    has compared both models on all test users; this asks whether that arrives where they are
    served."""

    false_alarm: float = Field(0.05, gt=0, lt=0.5)
    """Chance that any guardrail calls an equally good candidate bad, over all looks together."""

    false_pass: float = Field(0.05, gt=0, lt=0.5)
    """Chance that a candidate which keeps less than `hit_rate_kept` is promoted."""

    live: LiveConfig = LiveConfig()
    """How the live traffic is judged."""

    shadow: ShadowConfig = ShadowConfig()
    """The optional first step."""

    targets: RolloutTargetsConfig = RolloutTargetsConfig()
    """Settings of the targets other than `local`."""

    memory: MemoryConfig = MemoryConfig()
    """What a candidate's memory may do."""

    def soak_of(self, step: int) -> float:
        """Return the least seconds that a step is watched."""
        return self.soak_s[min(step, len(self.soak_s) - 1)] if self.soak_s else 0.0

    @model_validator(mode="after")
    def _soaks(self) -> Self:
        if any(not 0 <= seconds < float("inf") for seconds in self.soak_s):
            raise ValueError(f"soak_s holds seconds, not {list(self.soak_s)}")
        if len(self.soak_s) > len(self.steps):
            raise ValueError(f"soak_s has {len(self.soak_s)} values for {len(self.steps)} steps")
        return self

    @model_validator(mode="after")
    def _rising(self) -> Self:
        rising = all(a < b for a, b in zip(self.steps, self.steps[1:], strict=False))
        if not self.steps or not rising or self.steps[0] <= 0 or self.steps[-1] != 100:
            raise ValueError(f"steps must rise from above 0 to 100, not {list(self.steps)}")
        if len(self.steps) < 2:
            raise ValueError("steps needs one below 100, where both arms can be compared")
        return self
