"""The TrainJob as Kubeflow Trainer v2 reads it (`trainer.kubeflow.org/v1alpha1`, Trainer ≥ 2.2).

What is the same for every job (volumes, security, restarts of the whole set) is in the
ClusterTrainingRuntime, which people own; the job says what this training needs. Its one runtime
patch is ours, under our manager's name, beside those of other controllers (Kueue's, say).
"""

from __future__ import annotations

from typing import Any

from recommender.config import Config
from recommender.errors import ConfigError

GROUP = "trainer.kubeflow.org/v1alpha1"
MANAGER = "ostinato.example/train-step"
CONTAINER = "node"
"""Of the runtime's pods, and of the replicated job that they are of."""

_PASSED = ("AWS_ENDPOINT_URL_S3", "AWS_DEFAULT_REGION")


def job_name(config: Config, fingerprint: str) -> str:
    """Return the name of the job of a training: the same whenever it is asked for."""
    # JobSet, Job and pods lengthen it (`-node-0-999-abcde`), and a label holds 63 characters.
    return f"{config.name[:23].rstrip('-')}-train-{fingerprint}"


def train_job(config: Config, place: int, fingerprint: str, variables: dict[str, str]) -> Any:
    """Return the manifest of a TrainJob.

    Args:
        config: the whole tree.
        place: of the fold.
        fingerprint: of the training.
        variables: the step's environment, of which what says where S3 is goes along. No secrets:
            pods have the identity of their service account.

    Raises:
        ConfigError: `distributed.trainjob.location` is missing or no S3.
    """
    job, settings = config.distributed.trainjob, config.distributed
    if not job.location.startswith("s3://"):
        raise ConfigError(
            f"distributed.trainjob.location is {job.location!r}",
            "give s3://bucket/prefix: it is how the step and the nodes exchange data",
        )
    asked: dict[str, Any] = {"cpu": job.cpu, "memory": job.memory}
    limits: dict[str, Any] = {"memory": job.memory}
    if job.gpus:
        asked["nvidia.com/gpu"] = limits["nvidia.com/gpu"] = str(job.gpus)
    trainer: dict[str, Any] = {
        "numNodes": settings.nodes,
        "numProcPerNode": ranks_of_node(config),
        "command": ["python", "-m", "recommender.training.distributed.node"],
        "args": [remote_of(config, fingerprint), str(place)],
        "env": [{"name": name, "value": variables[name]} for name in _PASSED if name in variables],
        "resourcesPerNode": {"requests": asked, "limits": limits},
    }
    if job.image:
        trainer["image"] = job.image
    labels = {"app.kubernetes.io/part-of": "ostinato", "ostinato.example/step": "train"}
    pods = {"spec": {"template": {"metadata": {"labels": labels}, "spec": _pod_patch(config)}}}
    patch = {"spec": {"replicatedJobs": [{"name": CONTAINER, "template": pods}]}}
    return {
        "apiVersion": GROUP,
        "kind": "TrainJob",
        "metadata": {
            "name": job_name(config, fingerprint),
            "namespace": job.namespace,
            "labels": labels,
        },
        "spec": {
            "runtimeRef": {"name": job.runtime, "kind": "ClusterTrainingRuntime"},
            "activeDeadlineSeconds": round(3600 * job.hours),
            "trainer": trainer,
            "runtimePatches": [{"manager": MANAGER, "trainingRuntimeSpec": {"template": patch}}],
        },
    }


def ranks_of_node(config: Config) -> int:
    """Return how many processes a node has."""
    return config.distributed.ranks or max(1, config.distributed.trainjob.gpus)


def remote_of(config: Config, fingerprint: str) -> str:
    """Return where the step and the nodes exchange what belongs to a training."""
    return f"{config.distributed.trainjob.location.rstrip('/')}/{fingerprint}"


def _pod_patch(config: Config) -> dict[str, Any]:
    patch: dict[str, Any] = {"serviceAccountName": "train"}
    if config.distributed.trainjob.gpus:
        patch["tolerations"] = [{"key": "nvidia.com/gpu", "operator": "Exists"}]
    return patch
