"""When a log may speak about another policy."""

from __future__ import annotations

from pydantic import Field

from recommender.config.section import Section


class OffPolicyConfig(Section):
    """When a log may speak about another policy; short of any of these it is `insufficient`."""

    minimum_users: int = Field(500, ge=2)
    """People behind the estimate."""

    minimum_effective: float = Field(500.0, ge=1)
    """Effective sample size, in impressions."""

    minimum_rewards: int = Field(20, ge=1)
    """Impressions with a reward: with fewer the intervals can't be trusted."""

    maximum_uncovered: float = Field(0.02, ge=0, le=1)
    """Largest share of the policy's choices that the logging policy never makes."""

    maximum_set_aside: float = Field(0.02, ge=0, le=1)
    """Largest share of the log without a usable propensity."""

    maximum_off_balance: float = Field(4.0, gt=0)
    """Standard errors by which the mean weight may differ from 1."""

    cap: float = Field(20.0, gt=1)
    """Largest weight of clipped IPS."""

    temperature: float = Field(1.0, gt=0)
    """The candidate is taken to fill each place by a softmax of its scores over this: a policy
    that always shows the same can't be told from a log that rarely shows it."""
