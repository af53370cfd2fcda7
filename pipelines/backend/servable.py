"""Whether a run's end, the rollout, can do anything at all: looked at before hours of training."""

from __future__ import annotations

from pipelines.backend.step_images import PLACEHOLDER
from recommender.config import Config
from recommender.errors import ConfigError
from recommender.storage import is_s3

_DEPLOY = "image: ostinato-deploy:"


def require_servable(compiled: str, config: Config) -> None:
    """Make sure that a cluster could serve what a pipeline's last step rolls out.

    Args:
        compiled: YAML of the pipeline as it was compiled; one that rolls nothing out is right.
        config: the whole configuration: `rollout`, `registry`.

    Raises:
        ConfigError: model servers of a cluster can't read the registry, or the digest of their
            image is the placeholder of an overlay.
    """
    targets, target = config.rollout.targets, config.rollout.target
    if target == "local" or _DEPLOY not in compiled:
        return
    settings = targets.kserve if target == "kserve" else targets.gitops
    watched = target == "kserve" or targets.gitops.observe == "cluster"
    if watched and not is_s3(config.registry.location):
        place = config.registry.location or "the workspace"
        raise ConfigError(
            f"registry.location is {place}, which no model server of a cluster can read",
            "keep the registry in a bucket: registry.location: s3://<bucket>/<prefix>",
        )
    if settings.image.endswith(PLACEHOLDER):
        raise ConfigError(
            f"rollout.targets.{target}.image has no digest yet",
            "push the images and run infra/kustomize/pin.py",
        )
