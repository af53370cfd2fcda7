"""An API server with Kubeflow Trainer: strict about its objects, and a controller that runs jobs.

Validation is that of the released models; what the webhook refuses (a runtime that isn't there, a
changed spec) is written from the documentation. How the controller gets on is set from outside.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import kubeflow_trainer_api.models  # noqa: F401  takes seconds: not while somebody waits
from fake_kubernetes import FakeKubernetes, _status
from trainer_schema import problems

ROOT = "/apis/trainer.kubeflow.org/v1alpha1"
JOBS = f"{ROOT}/namespaces/ostinato/trainjobs"
RUNTIME = f"{ROOT}/clustertrainingruntimes/ostinato-train"


class FakeTrainer(FakeKubernetes):
    """An API server; a context manager.

    Attributes:
        progress: is given a job at each look of the controller; returns its next status, or None.
        created, deleted: names of jobs, in order.
    """

    def __init__(self) -> None:
        self.progress: Callable[[dict[str, Any]], dict[str, Any] | None] = lambda job: None
        self.created: list[str] = []
        self.deleted: list[str] = []
        super().__init__()
        self.put(RUNTIME, {"metadata": {"name": "ostinato-train"}})

    def handle(self, method: str, path: str, strict: bool, body: Any) -> tuple[int, dict[str, Any]]:
        with self.lock:
            if method == "DELETE" and not self.forbidden(method, path):
                there = self.objects.pop(path, None)
                if there is None:
                    return _status(404, "NotFound", f"{path} not found")
                self.deleted.append(there["metadata"]["name"])
                return 200, {"kind": "Status", "status": "Success"}
            return super().handle(method, path, strict, body)

    def _store(self, path: str, after: Any, before: Any, strict: bool) -> tuple[int, Any]:
        if path.rpartition("/")[0] != JOBS:
            return super()._store(path, after, before, strict)
        wrong = problems({k: v for k, v in after.items() if k != "status"})
        if any("unknown field" in each for each in wrong) and strict:
            return _status(400, "BadRequest", f"strict decoding error: {', '.join(wrong)}")
        if wrong:
            return _status(422, "Invalid", f"{', '.join(wrong)}: Invalid value")
        named = after["spec"]["runtimeRef"]["name"]
        hook = 'admission webhook "validator.trainjob.trainer.kubeflow.org" denied the request'
        if f"{ROOT}/clustertrainingruntimes/{named}" not in self.objects:
            return _status(403, "Forbidden", f"{hook}: {named} is no ClusterTrainingRuntime")
        if before is not None and before["spec"] != after["spec"]:
            return _status(403, "Forbidden", f"{hook}: spec: field is immutable")
        if before is None:
            self.created.append(after["metadata"]["name"])
        self.put(path, after)
        return (200 if before else 201), self.objects[path]

    def reconcile(self) -> None:
        with self.lock:
            for path, job in list(self.objects.items()):
                if not path.startswith(f"{JOBS}/") or ended(job):
                    continue
                if (status := self.progress(job)) is not None:
                    self.put(path, {**job, "status": status})


def ended(job: dict[str, Any]) -> bool:
    """Tell whether a job has come to its end: no controller touches it after that."""
    told = job.get("status", {}).get("conditions", [])
    return any(each["type"] in ("Failed", "Complete") for each in told)


def condition(kind: str, reason: str, message: str) -> dict[str, Any]:
    """Return a status with one true condition."""
    told = {"type": kind, "status": "True", "reason": reason, "message": message}
    return {"conditions": [told]}


def nodes(ready: int) -> dict[str, Any]:
    """Return a status in which the job of the nodes is ready, or not."""
    counts = {"active": 1, "failed": 0, "ready": ready, "succeeded": 0, "suspended": 0}
    return {"jobsStatus": [{"name": "node", **counts}]}
