"""Pods of the platform as their own projects label them: what our policies have to reach or let in.

Read in the projects' manifests (not rendered by us), so that no policy rests on a label that
somebody made up here.
"""

from __future__ import annotations

from typing import Any

KUBEFLOW = {"kubernetes.io/metadata.name": "kubeflow"}

# kubeflow/pipelines, in manifests/kustomize: base/pipeline/ml-pipeline-apiserver-deployment.yaml,
# base/metadata/base/metadata-grpc-deployment.yaml (it has no label `app`; kubeflow/manifests'
# own common/networkpolicies/base/metadata-grpc-server.yaml selects the same), and
# third-party/seaweedfs/base/seaweedfs/seaweedfs-{deployment,service}.yaml.
KFP: dict[str, tuple[dict[str, str], tuple[int, ...]]] = {
    "API": ({"app": "ml-pipeline"}, (8888, 8887)),
    "metadata": ({"component": "metadata-grpc-server"}, (8080,)),
    "artifacts": ({"app": "seaweedfs"}, (8333,)),
}
"""Labels and ports of what drivers and launchers of Kubeflow Pipelines speak with."""

# There, third-party/argo/upstream/manifests/base/workflow-controller/
# workflow-controller-deployment.yaml. TLS by a certificate that it signs itself is the default from
# Argo Workflows 3.6 on (argoproj/argo-workflows, docs/metrics.md).
WORKFLOW_CONTROLLER = ({"app": "workflow-controller"}, "metrics", "https")
"""Labels of Argo's controller, the port of its metrics, and how that speaks."""

# argoproj/argo-events, pkg/reconciler/eventsource/resource.go.
EVENT_SOURCE_SERVICE = "{name}-eventsource-svc"
"""The Service that an EventSource with `service` gets."""

# kubeflow/pipelines, backend/src/apiserver/server/*_server.go and common/const.go: KFP's API server
# asks Kubernetes for a verb and a resource of pipelines.kubeflow.org per call.
AUTHORISED: dict[str, tuple[str, str]] = {
    "GET /experiments": ("list", "experiments"),
    "POST /experiments": ("create", "experiments"),
    "GET /pipelines": ("list", "pipelines"),
    "POST /pipelines/upload": ("create", "pipelines"),
    "POST /pipelines/upload_version": ("create", "pipelines/versions"),
    "GET /pipelines/{id}/versions": ("list", "pipelines/versions"),
    "GET /runs": ("list", "runs"),
    "POST /runs": ("create", "runs"),
    "GET /runs/{id}": ("get", "runs"),
    "POST /runs/{id}:terminate": ("terminate", "runs"),
}
"""Right that a call needs where KFP has many users; `GET /healthz` needs none."""


def lets_out(rule: dict[str, Any], namespace: dict[str, str], labels: dict[str, str]) -> set[int]:
    """Return the ports of an egress rule by which a pod of another namespace is reached."""
    from rendered import selects

    reached = any(
        selects(peer["namespaceSelector"], namespace)
        and selects(peer.get("podSelector", {}), labels)
        for peer in rule["to"]
        if "namespaceSelector" in peer
    )
    return {port["port"] for port in rule["ports"]} if reached else set()
