"""What a study of settings has found: its trials, the best of them, the configured one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from recommender.errors import TrainingError


@dataclass(frozen=True)
class Told:
    """One trial, as people read it.

    Attributes:
        number: of the trial.
        state: `complete`, `pruned` (ended early, diverged, or refused), `running` or `failed`.
        value: of the best epoch on the validation window, by `training.keep_by`; None without one.
        settings: what was tried, by dotted key.
        epochs: how many were trained.
        configured: whether it is of what is configured.
        why: the reason that there is no value, where training gave one.
    """

    number: int
    state: str
    value: float | None
    settings: dict[str, Any]
    epochs: int
    configured: bool = False
    why: str | None = None


@dataclass(frozen=True)
class Findings:
    """What a study has found.

    Attributes:
        study: its name.
        trials: all of them.
    """

    study: str
    trials: tuple[Told, ...]

    @property
    def best(self) -> Told:
        """The best complete trial; the earlier one of equals.

        Raises:
            TrainingError: there is none.
        """
        done = [each for each in self.trials if each.state == "complete"]
        if not done:
            reasons = [each.why for each in self.trials if each.why]
            raise TrainingError(
                f"no trial of {self.study} came to its end",
                f"the last one: {reasons[-1]}" if reasons else "look into the workers' logs",
            )
        return max(done, key=lambda each: (each.value or 0.0, -each.number))

    @property
    def configured(self) -> Told | None:
        """The trial of what is configured; None where the space does not hold all of that."""
        return next((each for each in self.trials if each.configured), None)
