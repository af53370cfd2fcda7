"""The bot's folder: what it writes there, and how it reads that back.

    kustomization.yaml        a Kustomize component, which people's kustomization names
    inference-service.yaml    a merge patch: model, runtime, canary; nothing else
    runtimes.yaml             a ServingRuntime per version that is served (if the bot has the image)
    rollout.yaml              who is served, for which rollout, and a digest of all of this

`rollout.yaml` is in no kustomization and reaches no cluster. It can't be an annotation: KServe
copies the annotations of an InferenceService to its pods, so a step would restart both arms.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import yaml

from recommender.errors import RolloutError
from serving.rollout.gitops.people import LayoutError, People, documents
from serving.rollout.gitops.shares import Found, Model, Shares
from serving.rollout.kserve import patches
from serving.rollout.kserve.patches import merged
from serving.rollout.kserve.situation import Mode

COMPONENT, PATCH, RUNTIMES, RECORD = (
    "kustomization.yaml",
    "inference-service.yaml",
    "runtimes.yaml",
    "rollout.yaml",
)
FILES = (COMPONENT, PATCH, RUNTIMES, RECORD)
_HEADER = "# Written by ostinato at each step of a rollout. What you own is beside this folder.\n"
_MAY_CHANGE = frozenset({"name", "minReplicas", "canaryTrafficPercent", "model"})
_MAY_CHANGE_OF_MODEL = frozenset({"runtime", "storageUri"})


def render(
    shares: Shares,
    rollout: str,
    people: People,
    least: int,
    runtimes: Mapping[str, Mapping[str, Any]],
) -> dict[str, str | None]:
    """Return the files of the bot's folder; None for one that must not be there.

    Args:
        shares: who is to be served.
        rollout: id of the rollout, or "".
        people: their part.
        least: replicas that a canary always has.
        runtimes: ServingRuntimes that the bot writes, by name.

    Raises:
        LayoutError: a version has no runtime.
    """
    for model in (shares.stable, shares.candidate):
        if model and model.runtime not in people.runtimes and model.runtime not in runtimes:
            raise LayoutError(
                f"the repository has no ServingRuntime {model.runtime}",
                "commit it, or set rollout.targets.gitops.image, so that the bot writes it",
            )
    needed = {m.runtime for m in (shares.stable, shares.candidate) if m} - people.runtimes
    files: dict[str, str | None] = {
        PATCH: _HEADER + _yaml(patch_of(shares, people, least)),
        RUNTIMES: (
            _HEADER + "---\n".join(_yaml(dict(runtimes[name])) for name in sorted(needed))
            if needed
            else None
        ),
    }
    component = {
        "apiVersion": "kustomize.config.k8s.io/v1alpha1",
        "kind": "Component",
        **({"resources": [RUNTIMES]} if needed else {}),
        "patches": [{"path": PATCH}],
    }
    files[COMPONENT] = _HEADER + _yaml(component)
    record = {"format": 1, "rollout": rollout, **asdict(shares)}
    files[RECORD] = _HEADER + _yaml({**record, "digest": _digest(record, files)})
    return files


def patch_of(shares: Shares, people: People, least: int) -> dict[str, Any]:
    """Return the merge patch of people's InferenceService that serves somebody.

    Made by the same functions that change an InferenceService on a cluster; the canary is the
    stable predictor with another model, and so gets what people change of that, too.

    Args:
        shares: who is to be served.
        people: their part.
        least: replicas that a canary always has.

    Raises:
        LayoutError: it would change what people own.
    """
    base, service = people.service, people.service
    if shares.stable:
        service = merged(service, {"spec": {"predictor": _arm(shares.stable, people.mode)}})
    if shares.candidate:
        stable = shares.stable or shares.candidate
        canary = merged(service["spec"]["predictor"], _arm(shares.candidate, Mode.STANDARD))
        canary.setdefault("minReplicas", None)
        canary = {key: value for key, value in canary.items() if value is not None}
        begun = patches.start(
            service, people.mode, canary, owner="", live=stable.version, least=least
        )
        service = merged(service, begun)
        service = merged(
            service, patches.ramp(service, people.mode, shares.percent, least=least) or {}
        )
    elif shares.rolled_back and people.mode is Mode.KNATIVE:
        # The revision that was rolled out keeps the traffic until the next one is promoted; without
        # this, the candidate's would have it until a new revision of the stable model is ready.
        service = merged(service, {"spec": {"predictor": {"canaryTrafficPercent": 0}}})
    difference = _difference(base["spec"], _unmarked(service["spec"], base["spec"]))
    _check(difference)
    return {
        "apiVersion": base["apiVersion"],
        "kind": base["kind"],
        "metadata": {"name": base["metadata"]["name"]},
        **({"spec": difference} if difference else {}),
    }


def parse(files: Mapping[str, str | None], where: str) -> Found:
    """Read the bot's folder.

    Args:
        files: contents by name.
        where: the folder, for messages.

    Raises:
        LayoutError: it can't be read at all.
    """
    text = files.get(RECORD)
    if text is None:
        if splits(files.get(PATCH), f"{where}/{PATCH}") or storage_uri(files.get(PATCH), where):
            return Found(Shares(None), edited=f"{where}/{RECORD} is missing")
        return Found(Shares(None))
    try:
        (record,) = documents(text, f"{where}/{RECORD}")
        if record["format"] != 1:
            raise RolloutError(f"{where}/{RECORD} is of a format that this version doesn't know")
        digest = record.pop("digest")
        shares = Shares(
            _model(record["stable"]),
            _model(record["candidate"]),
            int(record["percent"]),
            bool(record["rolled_back"]),
        )
        rollout = str(record["rollout"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise LayoutError(
            f"{where}/{RECORD} is damaged: {error!r}", "restore it from the commit before"
        ) from error
    if digest == _digest(record, files):
        return Found(shares, rollout)
    return Found(shares, rollout, f"{where} is not as the bot left it")


def splits(patch: str | None, where: str) -> bool:
    """Say whether a patch gives any share of the traffic to somebody besides the stable arm.

    Args:
        patch: text of the patch, as people left it.
        where: its path, for messages.
    """
    spec: dict[str, Any] = {}
    for document in documents(patch or "", where):
        if isinstance(document, dict):
            spec = document.get("spec") or {}
    share = (spec.get("predictor") or {}).get("canaryTrafficPercent")
    return bool(spec.get("canary") or share)


def storage_uri(patch: str | None, where: str) -> str | None:
    """Return the model that a patch gives to the predictor."""
    for document in documents(patch or "", where):
        if isinstance(document, dict):
            predictor = (document.get("spec") or {}).get("predictor") or {}
            told = (predictor.get("model") or {}).get("storageUri")
            return str(told) if told else None
    return None


def same_patch(text: str | None, patch: Mapping[str, Any]) -> bool:
    """Say whether a text means a patch."""
    return documents(text or "", PATCH) == [dict(patch)]


def _arm(model: Model, mode: Mode) -> dict[str, Any]:
    told = {"runtime": model.runtime, "storageUri": model.storage_uri}
    # In Knative mode the name would rename the service whose revisions share the traffic.
    name = {"name": model.version} if mode is Mode.STANDARD else {}
    return {**name, "model": told}


def _unmarked(spec: dict[str, Any], base: Mapping[str, Any]) -> dict[str, Any]:
    """Return a spec without the marks that a rollout leaves on a cluster: ours are in the record.

    They are annotations, and those of an arm are on its pods.
    """
    theirs = base["predictor"].get("annotations")

    def restored(predictor: dict[str, Any]) -> dict[str, Any]:
        kept = {key: value for key, value in predictor.items() if key != "annotations"}
        return kept if theirs is None else {**kept, "annotations": theirs}

    told = {**spec, "predictor": restored(spec["predictor"])}
    if "canary" in spec:
        told["canary"] = [
            {**one, "predictor": restored(one["predictor"])} for one in spec["canary"]
        ]
    return told


def _difference(base: Any, target: Any) -> Any:
    """Return the merge patch (RFC 7386) that makes `target` of `base`; only what differs."""
    patch: dict[str, Any] = {key: None for key in base if key not in target}
    for key, value in target.items():
        if isinstance(value, dict) and isinstance(base.get(key), dict):
            if changed := _difference(base[key], value):
                patch[key] = changed
        elif key not in base or base[key] != value:
            patch[key] = value
    return patch


def _check(spec: Mapping[str, Any]) -> None:
    """Refuse a patch that changes more than models and shares."""
    predictor = spec.get("predictor") or {}
    model = predictor.get("model") or {}
    other = {
        *(spec.keys() - {"predictor", "canary"}),
        *(f"predictor.{key}" for key in predictor.keys() - _MAY_CHANGE),
        *(f"predictor.model.{key}" for key in model.keys() - _MAY_CHANGE_OF_MODEL),
    }
    if other:
        raise LayoutError(f"the patch would change what people own: {', '.join(sorted(other))}")


def _model(told: Mapping[str, str] | None) -> Model | None:
    return Model(**told) if told else None


def _digest(record: Mapping[str, Any], files: Mapping[str, str | None]) -> str:
    told = [_yaml(dict(record)), *(files.get(name) or "" for name in (COMPONENT, PATCH, RUNTIMES))]
    return hashlib.sha256("\0".join(told).encode()).hexdigest()


def _yaml(value: Any) -> str:
    text: str = yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=100)
    return text
