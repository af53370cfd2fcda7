"""Errors that a user can mend: they name what is wrong, where, and what to do.

Every step turns a `UserError` into one clear message and a non-zero exit, without a stack
trace. Anything else that is raised is a defect of ours and keeps its trace.
"""

from __future__ import annotations

from typing import ClassVar


class UserError(Exception):
    """Something in the input, the configuration or the surroundings is wrong.

    Args:
        message: what is wrong and where (file, column, row count, an example).
        hint: what to do about it, if that is known.
    """

    passing: ClassVar[bool] = False
    """Whether the trouble may pass by itself, so that trying again makes sense."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n  → {self.hint}" if self.hint else self.message


class ConfigError(UserError):
    """A key or a value of the configuration is wrong."""


class SourceError(UserError):
    """A raw file is missing, unreadable or not what the configuration says."""


class StorageError(UserError):
    """An object or a file can't be read or written (missing, forbidden, disk full)."""

    passing = True


class DataQualityError(UserError):
    """Data broke a critical expectation."""


class FeatureError(UserError):
    """Features are missing, stale or unreadable."""


class TrainingError(UserError):
    """Training can't start or go on (too little data, loss is NaN, checkpoint of another run)."""


class ArtifactError(UserError):
    """A model, an evaluation or another artifact is missing, truncated or tampered with."""


class EvaluationError(UserError):
    """An evaluation can't be made (nobody to test on, parts that don't belong together)."""


class RegistryError(UserError):
    """The model registry can't do what was asked."""


class ServingError(UserError):
    """The served endpoint can't be started, reached or asked."""

    passing = True


class RolloutError(UserError):
    """A rollout can't be started or has come to a bad end."""

    passing = True
