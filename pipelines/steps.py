"""What each step asks of the cluster: CPU, memory, GPU, time, retries and caching.

One table, so that a platform team finds every number in one place. On a laptop the runner
ignores all of it but the retries. What pods that train ask for can be configured
(`backend.train`), and is put into the pipeline when it is uploaded; the table has what it is
otherwise.

Caching is off where a step reads state that its inputs don't name (the source behind a location,
the registry's champion, the feature store) or leaves side effects there; a cached answer would
be about an earlier world. Ingest and text encoding skip known work by content hash instead, and
training goes on from its checkpoint.
"""

from __future__ import annotations

from dataclasses import dataclass

from kfp import dsl, kubernetes

from pipelines.cluster_parameters import CLAIM, GPUS, STEP_LABEL, WORKSPACE
from recommender.config.backend import TrainPodConfig


@dataclass(frozen=True)
class Needs:
    """What one step asks for.

    Attributes:
        cpu: cores requested; twice as many are the limit.
        memory: requested and limit, in Kubernetes units.
        minutes: after which the pod is stopped.
        retries: how often a failed pod is started again (a user's mistake isn't tried again).
        cache: whether an earlier run's output for the same inputs may be taken.
        gpus: number of GPUs.
    """

    cpu: int
    memory: str
    minutes: int
    retries: int
    cache: bool = False
    gpus: int = 0


_TRAIN = TrainPodConfig()

NEEDS = {
    "ingest": Needs(cpu=1, memory="8G", minutes=60, retries=2),
    "validate": Needs(cpu=2, memory="16G", minutes=60, retries=1),
    "materialize": Needs(cpu=2, memory="16G", minutes=120, retries=1),
    "train": Needs(
        cpu=_TRAIN.cpu,
        memory=_TRAIN.memory,
        minutes=round(60 * _TRAIN.hours),
        retries=3,
        gpus=GPUS,
    ),
    "evaluate": Needs(cpu=2, memory="16G", minutes=120, retries=1),
    # The decision follows from the evaluation alone: the only step that is a pure function.
    "gate": Needs(cpu=1, memory="2G", minutes=10, retries=1, cache=True),
    "register": Needs(cpu=1, memory="4G", minutes=30, retries=2),
    "deploy": Needs(cpu=1, memory="4G", minutes=720, retries=1),
    "outcome": Needs(cpu=1, memory="1G", minutes=10, retries=2),
}

_USER = 65532


_ENVIRONMENT = "ostinato-steps"
_VARIABLES = (
    "OSTINATO_PROFILE",
    "OSTINATO_OFFLINE",
    "AWS_ENDPOINT_URL_S3",
    "AWS_DEFAULT_REGION",
)
# Those that read or write stores: ingest takes up what has landed there since the source.
_STORES = {"ingest", "materialize", "deploy"}
# Secrets of one step alone, as variables by key; missing ones are left out. Rollouts by Git push
# with a token, studies of `ostinato tune` may lie in a database, figures on an MLflow server, and a
# Ray cluster that builds sequences asks who calls.
_RAY = {"ostinato-ray": {"token": "RAY_AUTH_TOKEN"}}
_SECRETS = {
    "materialize": _RAY,
    "deploy": {"ostinato-git": {"token": "DEPLOY_TOKEN"}, **_RAY},
    "train": {
        "ostinato-tuning": {"storage": "OSTINATO_TUNING_STORAGE"},
        "ostinato-mlflow": {
            "username": "MLFLOW_TRACKING_USERNAME",
            "password": "MLFLOW_TRACKING_PASSWORD",
        },
    },
}


def equip(
    task: dsl.PipelineTask,
    step: str,
    name: str = "",
    *,
    workspace: str = CLAIM,
    asks: str = "",
) -> dsl.PipelineTask:
    """Give a task of the pipeline what `NEEDS` says its step asks for, and what every step has.

    Args:
        task: of the pipeline.
        step: whose needs, image and rights the task has.
        name: what people read, where it isn't that step itself.
        workspace: claim of the workspace's volume; a parameter of the pipeline.
        asks: step whose CPU, memory and time the task asks for, where they aren't its own.
    """
    needs = NEEDS[asks or step]
    kubernetes.mount_pvc(task, pvc_name=workspace, mount_path=WORKSPACE)
    kubernetes.empty_dir_mount(task, "tmp", "/tmp")  # noqa: S108 a pod's own
    # Missing ones are left out: without them the stores are files of the workspace.
    kubernetes.use_config_map_as_env(
        task, _ENVIRONMENT, {each: each for each in _VARIABLES}, optional=True
    )
    if step in _STORES:
        stores = {"redis": "OSTINATO_REDIS", "registry": "OSTINATO_REGISTRY"}
        kubernetes.use_secret_as_env(task, "ostinato-stores", stores, optional=True)
    for secret, variables in _SECRETS.get(step, {}).items():
        kubernetes.use_secret_as_env(task, secret, variables, optional=True)
    # Where S3 is no AWS (MinIO), steps have a key; on AWS their account has a role.
    keys = {"minio-user": "AWS_ACCESS_KEY_ID", "minio-password": "AWS_SECRET_ACCESS_KEY"}
    kubernetes.use_secret_as_env(task, "stores", keys, optional=True)
    task.set_display_name(name or step)
    # What a NetworkPolicy can tell steps apart by: all of a run's pods have one service account.
    kubernetes.add_pod_label(task, STEP_LABEL, step)
    # KFP sets the rest of what Pod Security `restricted` asks for, but not these.
    kubernetes.set_security_context(
        task, run_as_user=_USER, run_as_group=_USER, run_as_non_root=True
    )
    task.set_cpu_request(str(needs.cpu)).set_cpu_limit(str(2 * needs.cpu))
    task.set_memory_request(needs.memory).set_memory_limit(needs.memory)
    task.set_retry(needs.retries, backoff_duration="10s", backoff_factor=2.0)
    task.set_caching_options(enable_caching=needs.cache)
    if needs.gpus:
        task.set_accelerator_type("nvidia.com/gpu").set_accelerator_limit(needs.gpus)
        kubernetes.add_toleration(task, key="nvidia.com/gpu", operator="Exists")
        kubernetes.empty_dir_mount(task, "shared-memory", "/dev/shm", medium="Memory")  # noqa: S108
    return kubernetes.set_timeout(task, seconds=60 * needs.minutes)
