"""Where a rollout takes place, apart from this machine: a cluster, or a Git repository."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from recommender.config.gitops_target import GitOpsTargetConfig
from recommender.config.section import Section

_DNS_LABEL = r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"


class KServeTargetConfig(Section):
    """An InferenceService that a rollout changes through the Kubernetes API."""

    namespace: str = Field("default", pattern=_DNS_LABEL)
    """Namespace of the InferenceService."""

    name: str = Field("", pattern=r"^([a-z]([-a-z0-9]{0,40}[a-z0-9])?)?$")
    """Name of the InferenceService; empty: `serving.name`."""

    mode: Literal["auto", "standard", "knative"] = "auto"
    """How KServe deploys it. `auto` asks the cluster; a mode that the cluster doesn't use is an
    error, as the wrong kind of canary is ignored in silence there."""

    controller_namespace: str = Field("kserve", pattern=_DNS_LABEL)
    """Namespace of KServe's controller, where its configuration and its version are read."""

    version: str = Field("", pattern=r"^(v?[0-9]+\.[0-9]+(\.[0-9]+)?\S*)?$")
    """KServe's version, for clusters where it can't be read from the controller's Deployment."""

    kubeconfig: str = ""
    """Path of the kubeconfig; empty: in a pod its service account, elsewhere `KUBECONFIG` or the
    usual place."""

    context: str = ""
    """Context of the kubeconfig; empty: the current one."""

    image: str = ""
    """Image of the model server by digest (`name@sha256:…`), for the runtimes of versions that
    have none yet; empty: a version's runtime must have been applied before its rollout."""

    environment: str = Field("", pattern=r"^([a-z0-9]([-.a-z0-9]{0,250}[a-z0-9])?)?$")
    """Name of a ConfigMap and of a Secret (either may be missing) whose keys are variables of the
    model servers: where features and logs are, and the keys to them. Empty: what is written on the
    InferenceService has to say so."""

    url: str = Field("", pattern=r"^(https?://\S+)?$")
    """Base URL that requests reach the InferenceService at; empty: what its status says."""

    min_replicas: int = Field(1, ge=1)
    """Least replicas of the canary; it gets its share of the stable arm's where that is more.
    Without any, a canary of 0 % would have no pod."""

    timeout_s: float = Field(600.0, gt=0)
    """Longest wait for the cluster to carry out a change. A candidate that isn't ready by then is
    rolled back."""

    poll_s: float = Field(2.0, gt=0)
    """Pause between two looks at the status."""

    settle_s: float = Field(5.0, ge=0)
    """How long the Gateway may take to follow a share that KServe reports: the status tells what
    was written into the route, not what is in force. Answers before that belong to no step."""

    unready_s: float = Field(60.0, ge=0)
    """How long a canary that was ready may be not ready (a pod that restarts) before it is rolled
    back."""

    request_timeout_s: float = Field(10.0, gt=0)
    """Longest wait for one answer of the API server."""

    retry_s: float = Field(60.0, gt=0)
    """How long an API server that fails, throttles or conflicts is tried again, with growing
    pauses."""


class RolloutTargetsConfig(Section):
    """Settings of the places where a rollout can take place."""

    kserve: KServeTargetConfig = KServeTargetConfig()
    """An InferenceService on a cluster."""

    gitops: GitOpsTargetConfig = GitOpsTargetConfig()
    """A Git repository that a controller follows."""
