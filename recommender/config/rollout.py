"""The canary: steps, samples and guardrails."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from recommender.config.section import Section


class RolloutConfig(Section):
    """The canary: steps, samples and guardrails."""

    steps: tuple[int, ...] = (5, 25, 50, 100)
    """Percent of the users that the candidate gets, step by step."""

    minimum_users_per_arm: int = Field(30, ge=2)
    """With fewer users in either arm there is no verdict, and never a pass."""

    maximum_error_rate: float = Field(0.01, ge=0, le=1)
    """More failed requests than this in the candidate's arm roll it back."""

    maximum_latency_ratio: float = Field(3.0, gt=0)
    """A candidate whose p95 latency is above this multiple of the champion's is rolled back."""

    hit_rate_margin: float = Field(0.0, ge=0)
    """The candidate's hit rate may be this much lower (absolute) before it is rolled back."""

    false_alarm: float = Field(0.05, gt=0, lt=0.5)
    """Chance of rolling back an equally good candidate over all steps together."""

    @model_validator(mode="after")
    def _rising(self) -> Self:
        rising = all(a < b for a, b in zip(self.steps, self.steps[1:], strict=False))
        if not self.steps or not rising or self.steps[0] <= 0 or self.steps[-1] != 100:
            raise ValueError(f"steps must rise from above 0 to 100, not {list(self.steps)}")
        return self
