"""What a run on a cluster is started with: its configuration, its name, the volume it works in.

The pods of a run's steps, of the trigger receiver and of the model servers share one volume per
data set, because they must agree on its keys, its accepted data and who must be forgotten.
"""

from __future__ import annotations

from recommender.config import Config

WORKSPACE = "/var/lib/ostinato"
"""Where every pod finds the workspace."""

CLAIM = "ostinato-workspace"
"""Claim of that volume, where a run's starter names none."""

GPUS = 1
"""Of a pod that trains, where the configuration doesn't say."""

STEP_LABEL = "ostinato.example/step"
"""Label of a step's pods, with its name."""


def claim_of(config: Config) -> str:
    """Return the claim of a data set's workspace; its model servers mount the same one."""
    return f"{config.name}-workspace"


def parameters(config: Config, run_id: str) -> dict[str, str]:
    """Return the parameters of a run.

    Args:
        config: the whole configuration. Its workspace is a folder of whoever asks; the run's is
            the volume.
        run_id: of the run.
    """
    there = config.model_copy(update={"workspace": WORKSPACE})
    return {"config": there.to_json(), "run_id": run_id, "workspace": claim_of(config)}
