"""A small KServe controller: it carries out specs step by step and writes the status.

It keeps what the real one does to people: which version answers which share at each moment, how
many pods the stable arm has, and how often pods are restarted. Its rules are those of the
controller's source (0.21): the canary overlays the stable predictor, its Deployment is
`<name>-<canary>-predictor`, only ready canaries are in the HTTPRoute and are subtracted from the
stable replicas; Knative revisions and the traffic of the Knative service as KServe computes it.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Deployment:
    """Pods of one template."""

    template: dict[str, Any]
    replicas: int
    age: int = 0
    restarts: int = 0


@dataclass
class Controller:
    """Reconciles one InferenceService.

    Attributes:
        startup: looks until pods are ready.
        broken: versions whose model can't be loaded.
        slow: versions that never become ready, and never fail.
        hangs: whether nothing is carried out or reported any more.
        shares: what the Gateway does: version → percent.
        seen: every split of the traffic there was since somebody was served.
        fewest: the fewest pods the stable arm had since its first were ready.
    """

    startup: int = 2
    broken: set[str] = field(default_factory=set)
    slow: set[str] = field(default_factory=set)
    hangs: bool = False
    deployments: dict[str, Deployment] = field(default_factory=dict)
    shares: dict[str, int] = field(default_factory=dict)
    seen: list[dict[str, int]] = field(default_factory=list)
    fewest: int | None = None
    revisions: list[Deployment] = field(default_factory=list)
    component: dict[str, Any] = field(default_factory=dict)

    def step(self, service: dict[str, Any]) -> dict[str, Any] | None:
        """Return the status after one look, or None if nothing is reported."""
        if self.hangs:
            return None
        mode = service["metadata"].get("annotations", {}).get("serving.kserve.io/deploymentMode")
        status = self._knative(service) if mode == "Knative" else self._standard(service)
        if self.shares != (self.seen[-1] if self.seen else {}):
            self.seen.append(dict(self.shares))
        return status

    def _standard(self, service: dict[str, Any]) -> dict[str, Any]:
        name, spec = service["metadata"]["name"], service["spec"]
        canaries = spec.get("canary") or []
        least = spec["predictor"].get("minReplicas", 1)
        wanted = {}
        for canary in canaries:
            overlaid = _overlay(canary["predictor"], spec["predictor"])
            few = -(-least * canary["trafficPercent"] // 100)
            replicas = canary["predictor"].get("minReplicas", few)
            wanted[_deployment(name, overlaid)] = (_template(overlaid), replicas)
        ready, entries = 0, []
        stable = _deployment(name, spec["predictor"])
        for deployment, (template, replicas) in wanted.items():
            self._apply(deployment, template, replicas)
        for canary, deployment in zip(canaries, list(wanted), strict=True):
            up = self._up(self.deployments[deployment])
            ready += self.deployments[deployment].replicas if up else 0
            entries.append(
                {
                    "name": canary["predictor"]["name"],
                    "ready": up,
                    "trafficPercent": canary["trafficPercent"],
                    "modelStatus": self._model(self.deployments[deployment]),
                }
            )
        self._apply(stable, _template(spec["predictor"]), max(least - ready, 1))
        for gone in set(self.deployments) - {stable, *wanted}:
            del self.deployments[gone]
        self.shares = {}
        if self._up(self.deployments[stable]):
            pods = self.deployments[stable].replicas
            self.fewest = pods if self.fewest is None else min(self.fewest, pods)
            routed = {e["name"]: e["trafficPercent"] for e in entries if e["ready"]}
            version = _version(name, spec["predictor"])
            self.shares = {version: 100 - sum(routed.values()), **routed}
        status: dict[str, Any] = {
            "deploymentMode": "Standard",
            "url": f"http://{name}.example.com",
            "modelStatus": self._model(self.deployments[stable]),
            "conditions": [_condition("PredictorReady", self._up(self.deployments[stable]))],
        }
        if entries:
            every = all(entry["ready"] for entry in entries)
            status["canaryStatuses"] = entries
            status["conditions"].append(_condition("CanaryPredictorReady", every))
        return status

    def _knative(self, service: dict[str, Any]) -> dict[str, Any]:
        name, predictor = service["metadata"]["name"], service["spec"]["predictor"]
        template = {**_template(predictor), "minReplicas": predictor.get("minReplicas", 1)}
        if not self.revisions or self.revisions[-1].template != template:
            self.revisions.append(Deployment(template, template["minReplicas"]))
        for revision in self.revisions:
            revision.age += 1
        names = {f"{name}-{i:05d}": revision for i, revision in enumerate(self.revisions, 1)}
        created = list(names)[-1]
        latest_ready = next((n for n in reversed(names) if self._up(names[n])), None)
        was, share = self.component, predictor.get("canaryTrafficPercent")
        rolled_out = was.get("latestRolledoutRevision")
        newest = {"latestRevision": True, "revisionName": latest_ready, "percent": 100}
        traffic = [newest]
        if share is not None and rolled_out:
            newest["percent"] = share
            rest = {"latestRevision": False, "revisionName": rolled_out, "percent": 100 - share}
            traffic.append({**rest, "tag": "prev"})
        if latest_ready is None:
            traffic = []
        routed: dict[str, int] = {}
        for target in traffic:
            name_of = target["revisionName"]
            routed[name_of] = routed.get(name_of, 0) + target["percent"]
        now = {key: was[key] for key in was if key.endswith("RolledoutRevision")}
        if latest_ready and rolled_out != latest_ready and newest["percent"] == 100:
            if rolled_out:
                now["previousRolledoutRevision"] = rolled_out
            now["latestRolledoutRevision"] = latest_ready
        elif (
            latest_ready == rolled_out == created
            and newest["percent"] < 100 == routed[created]
            and "previousRolledoutRevision" in was
        ):  # everything went to it, and then its share was taken back
            now["latestRolledoutRevision"] = was["previousRolledoutRevision"]
        self.component = {**now, "latestCreatedRevision": created, "traffic": traffic}
        self.shares = {}
        if latest_ready:
            self.component["latestReadyRevision"] = latest_ready
            for revision, percent in routed.items():
                version = _version(name, names[revision].template)
                self.shares[version] = self.shares.get(version, 0) + percent
        up = self._up(names[created])
        return {
            "deploymentMode": "Knative",
            "components": {"predictor": copy.deepcopy(self.component)},
            "conditions": [_condition("PredictorReady", up)],
            "modelStatus": self._model(names[created]),
        }

    def _apply(self, name: str, template: dict[str, Any], replicas: int) -> None:
        there = self.deployments.get(name)
        if there is None:
            self.deployments[name] = Deployment(template, replicas)
            return
        if there.template != template:
            there.template, there.age = template, 0
            there.restarts += 1
        there.replicas = replicas
        there.age += 1

    def _up(self, pods: Deployment) -> bool:
        version = _version("", pods.template)
        troubled = any(version.endswith(bad) for bad in self.broken | self.slow)
        return pods.age >= self.startup and not troubled and pods.replicas > 0

    def _model(self, pods: Deployment) -> dict[str, Any]:
        version = _version("", pods.template)
        if self._up(pods):
            return {"transitionStatus": "UpToDate"}
        if pods.age >= self.startup and any(version.endswith(bad) for bad in self.broken):
            told = {"reason": "ModelLoadFailed", "message": "hash mismatch", "exitCode": 1}
            return {"transitionStatus": "BlockedByFailedLoad", "lastFailureInfo": told}
        return {"transitionStatus": "InProgress"}


def _deployment(name: str, predictor: dict[str, Any]) -> str:
    middle = f"-{predictor['name']}" if predictor.get("name") else ""
    return f"{name}{middle}-predictor"


def _version(name: str, predictor: dict[str, Any]) -> str:
    return str(predictor["model"]["runtime"]).removeprefix(f"{name}-")


def _template(predictor: dict[str, Any]) -> dict[str, Any]:
    """Return what a pod is made of: nothing of how many there are, or of who gets what."""
    scaling = ("minReplicas", "maxReplicas", "canaryTrafficPercent")
    return {key: copy.deepcopy(value) for key, value in predictor.items() if key not in scaling}


def _overlay(top: Any, bottom: Any) -> Any:
    """Fill what is missing in `top` from `bottom`, at every depth."""
    if not (isinstance(top, dict) and isinstance(bottom, dict)):
        return top
    return {**bottom, **{key: _overlay(value, bottom.get(key)) for key, value in top.items()}}


def _condition(kind: str, up: bool) -> dict[str, Any]:
    told = {} if up else {"reason": "MinimumReplicasUnavailable", "message": "0 of 1 pods"}
    return {"type": kind, "status": "True" if up else "False", **told}
