"""Health of an InferenceService in Argo CD: its script is run by the Lua that Argo CD speaks."""

from __future__ import annotations

import pytest
import yaml
from rendered import ARGOCD


def health(service):
    from lupa.lua51 import LuaRuntime

    lua = LuaRuntime()
    lua.globals().obj = lua.table_from(service, recursive=True)
    found = lua.execute((ARGOCD / "inference-service-health.lua").read_text())
    return found["status"], found["message"]


def service(canaries=(), reported=(), ready="True", model=None, url="http://x", **status):
    """Return an InferenceService whose spec asks for canaries and whose status reports others."""
    spec = {"predictor": {"name": "m-1", "model": {"storageUri": "s3://models/m-1"}}}
    if canaries:
        spec["canary"] = [
            {"trafficPercent": share, "predictor": {"name": name}} for name, share in canaries
        ]
    told = {
        "url": url,
        "conditions": [{"type": "PredictorReady", "status": ready, "reason": "why"}],
        "canaryStatuses": [
            {"name": name, "trafficPercent": share, "ready": up, "modelStatus": state or {}}
            for name, share, up, state in reported
        ],
        **status,
    }
    if model:
        told["modelStatus"] = model
    return {"metadata": {"generation": 9}, "spec": spec, "status": told}


BROKEN = {
    "transitionStatus": "BlockedByFailedLoad",
    "lastFailureInfo": {"reason": "ModelLoadFailed", "message": "bad file"},
}


@pytest.mark.parametrize(
    ("found", "status", "words"),
    [
        (service(), "Healthy", "as asked for"),
        (service([("m-2", 5)], [("m-2", 5, True, None)]), "Healthy", "as asked for"),
        # The status is of the spec before: everything in it is true, and says nothing of this one.
        (service([("m-2", 5)]), "Progressing", "m-2 is not reported yet"),
        (service([("m-2", 25)], [("m-2", 5, True, None)]), "Progressing", "has 5 %, not 25 %"),
        (service([], [("m-2", 5, True, None)]), "Progressing", "m-2 is still reported"),
        (service([("m-3", 5)], [("m-2", 5, True, None)]), "Progressing", "still reported"),
        (service([("m-2", 0)], [("m-2", 0, False, None)]), "Progressing", "not ready"),
        (service([("m-2", 5)], [("m-2", 0, False, BROKEN)]), "Degraded", "m-2: Blocked"),
        (service(model=BROKEN), "Degraded", "bad file"),
        (service(ready="False"), "Degraded", "why"),
        (service(ready="False", url=None), "Progressing", "why"),
        (service(ready="Unknown"), "Progressing", "why"),
        ({"metadata": {}, "spec": service()["spec"]}, "Progressing", "not reported"),
        ({"metadata": {}, "spec": {"predictor": {"model": {}}}}, "Suspended", "no model yet"),
    ],
)  # fmt: skip
def test_health_is_of_the_spec_that_is_there(found, status, words):
    told = health(found)
    assert told[0] == status
    assert words in told[1]


def test_argo_cd_gets_that_script():
    (generator,) = yaml.safe_load((ARGOCD / "kustomization.yaml").read_text())["configMapGenerator"]
    (file,) = generator["files"]
    key, _, path = file.partition("=")
    assert key == "resource.customizations.health.serving.kserve.io_InferenceService"
    assert (ARGOCD / path).is_file()
    assert generator["name"] == "argocd-cm"
