"""Training by several processes, on one node or on many."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from recommender.config.section import Section


class TrainJobConfig(Section):
    """A TrainJob of Kubeflow Trainer v2, which the train step starts and follows."""

    runtime: str = "ostinato-train"
    """The ClusterTrainingRuntime (`infra/kustomize/components/distributed-training`)."""

    namespace: str = "ostinato"
    """Where the job runs; its service account there is `train`."""

    image: str = ""
    """In place of the runtime's image."""

    location: str = ""
    """`s3://bucket/prefix` of what goes between the step and the nodes: the data set, checkpoints,
    and the model. Needed. The role of the train step deletes there: Terraform's may do so below
    `training/` of the artifacts bucket only."""

    gpus: int = Field(1, ge=0)
    """GPUs of a node; with 0 the processes compute on its CPU."""

    cpu: str = "4"
    """Cores that a node asks for."""

    memory: str = "32Gi"
    """Memory of a node."""

    hours: float = Field(12, gt=0)
    """After which a job that is at work is given up."""

    schedule_s: float = Field(1800, gt=0)
    """Longest wait for all its nodes to be at work."""

    poll_s: float = Field(10, gt=0)
    """Between two looks at it."""

    kubeconfig: str = ""
    """File that says how the cluster is reached; in a pod its service account does."""

    context: str = ""
    """Of the kubeconfig; its current one by default."""

    request_timeout_s: float = Field(10, gt=0)
    """Longest wait for one answer of the API server."""

    retry_s: float = Field(120, ge=0)
    """How long an API server that fails is asked again."""


class DistributedConfig(Section):
    """Training by several processes.

    They share out the batches of a step: `training.accumulate` says how many these are, and so how
    many processes can take part. How many do has no say in the result.
    """

    launcher: Literal["none", "torchrun", "trainjob"] = "none"
    """`none`: the step trains itself; `torchrun`: by processes on its own node; `trainjob`: by
    processes on nodes of their own, through Kubeflow Trainer."""

    ranks: int = Field(0, ge=0)
    """Processes of a node; 0: one for each of its GPUs, or one where there is none."""

    nodes: int = Field(1, ge=1)
    """Nodes of a `trainjob`."""

    least_nodes: int = Field(0, ge=0)
    """With how few of them it goes on while evicted ones are away; 0: it waits for all to be back.
    Without the first node, where they meet, or after a pod failed by itself, all are started again.
    """

    backend: Literal["auto", "gloo", "nccl"] = "auto"
    """What carries gradients; `auto`: nccl between GPUs, else gloo."""

    shard_items: bool = False
    """Whether each process keeps some rows only of what is learned of each item (id vectors and
    the like), and of its moments, for a catalogue that is too large for one GPU. Needs
    `training.loss` `sampled` or `gbce`, which read rows; a step then waits for rows of others."""

    restarts: int = Field(3, ge=0)
    """How often all processes are started again when one dies; they go on from the last
    checkpoint."""

    timeout_s: float = Field(600, gt=0)
    """Longest wait of a process for the others before it takes them for dead."""

    trainjob: TrainJobConfig = TrainJobConfig()
    """The job on the cluster."""
