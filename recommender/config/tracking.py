"""Where the figures of trainings are kept beside the run's own files."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from recommender.config.section import Section

_STORES = ("file:", "http://", "https://")


class TrackingConfig(Section):
    """Where the figures of trainings are kept beside the run's own files.

    TensorBoard's event files are always written to the run's folder.
    """

    mlflow: str | None = None
    """Address of an MLflow store: `file:<folder>` or `http(s)://…` (extra `mlflow`); None: none.
    Told as epochs end; where other processes train (`distributed`), when they have ended. A store
    that is away fails no training. Names and passwords come from MLflow's own variables of the
    environment, never from here."""

    experiment: str = Field("", max_length=200)
    """MLflow's experiment; empty: the configuration's `name`."""

    @model_validator(mode="after")
    def _store(self) -> Self:
        if self.mlflow is None:
            return self
        if not self.mlflow.startswith(_STORES):
            raise ValueError(f"mlflow must begin with one of {', '.join(_STORES)}")
        if "@" in self.mlflow.split("//", 1)[-1].split("/", 1)[0]:
            raise ValueError(
                "mlflow must hold no name and no password; set MLFLOW_TRACKING_USERNAME and "
                "MLFLOW_TRACKING_PASSWORD"
            )
        return self
