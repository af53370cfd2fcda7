"""Which target the configuration means: the one place that knows all of them."""

from __future__ import annotations

from importlib import import_module

from recommender.config import Config
from recommender.registry import Registry
from serving.rollout.target import Target

# A target of a cluster is imported only where it is asked for: its client isn't installed
# everywhere. Each class has `of(config, registry)`.
_CLASSES = {
    "local": ("serving.rollout.local", "LocalTarget"),
    "kserve": ("serving.rollout.kserve.target", "KServeTarget"),
    "gitops": ("serving.rollout.gitops.target", "GitOpsTarget"),
}


def target_of(config: Config, registry: Registry) -> Target:
    """Return the configured target (`rollout.target`).

    Args:
        config: of the data set.
        registry: that versions come from.

    Raises:
        UserError: the target's own settings are wrong, or it can't be reached.
    """
    module, name = _CLASSES[config.rollout.target]
    target: Target = getattr(import_module(module), name).of(config, registry)
    return target
