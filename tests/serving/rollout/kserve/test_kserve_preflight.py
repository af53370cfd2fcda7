"""What is looked at before a rollout, what is refused, and what patches are made of."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_kubernetes import (
    CONFIG_MAP,
    CRD,
    DEPLOYMENT,
    SERVICES,
    FakeKubernetes,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from kserve_schema import denial, unknown_fields, wrong_types
from kserve_world import CANDIDATE, NAME, STABLE, KServeWorld

from recommender.errors import RolloutError
from serving.rollout.kserve import patches, status
from serving.rollout.kserve.client import Cluster, Resource
from serving.rollout.kserve.patches import merged
from serving.rollout.kserve.preflight import inspect, require_short
from serving.rollout.kserve.situation import OWNER, Mode, situation, version_of
from serving.rollout.kserve.status import Progress

SERVICE = f"{SERVICES}/{NAME}"


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[KServeWorld]:
    """Return a cluster that serves nothing yet."""
    with FakeKubernetes() as api:
        yield KServeWorld(api, tmp_path)


def looked(world: KServeWorld, **told: Any) -> Any:
    kserve = world.config(**told).rollout.targets.kserve
    return inspect(Cluster.connect(kserve), kserve, world.api.objects.get(SERVICE))


# Preflight.


@pytest.mark.parametrize(
    ("default", "mode"),
    [
        ("Standard", Mode.STANDARD),
        ("RawDeployment", Mode.STANDARD),
        ("Knative", Mode.KNATIVE),
        ("Serverless", Mode.KNATIVE),
    ],
)
def test_the_mode_is_the_clusters(empty: KServeWorld, default: str, mode: Mode) -> None:
    empty.api.install(mode=default)
    assert looked(empty).mode is mode


def test_what_an_inference_service_says_itself_counts_more(standard: KServeWorld) -> None:
    standard.api.install(mode="Knative")
    assert looked(standard).mode is Mode.STANDARD
    with pytest.raises(RolloutError, match="mode is knative, but the cluster deploys it as Stand"):
        looked(standard, mode="knative")


def test_the_wrong_mode_would_be_ignored_so_it_is_refused(standard: KServeWorld) -> None:
    standard.settings["mode"] = "knative"
    with pytest.raises(RolloutError, match="can't be changed"):
        standard.target().start_candidate(CANDIDATE)
    assert not [r for r in standard.api.requests if r[0] == "PATCH" and "canary" in r[1]]


def test_a_mode_without_canaries_is_refused(empty: KServeWorld) -> None:
    empty.api.install(mode="ModelMesh")
    with pytest.raises(RolloutError, match="ModelMesh, which has no canary"):
        looked(empty)


@pytest.mark.parametrize("version", ["v0.20.0", "v0.20.1-rc1", "0.15"])
def test_standard_before_0_21_is_refused_as_it_accepts_and_routes_nothing(
    empty: KServeWorld, version: str
) -> None:
    empty.api.install(version=version)
    with pytest.raises(RolloutError, match="can't split traffic in Standard mode"):
        looked(empty)
    empty.api.install(mode="Knative", version=version)
    assert looked(empty).version < (0, 21)


@pytest.mark.parametrize("version", ["v0.21.0", "v0.21.0-rc0", "0.22", "v1.0.3"])
def test_standard_from_0_21_on_is_fine(empty: KServeWorld, version: str) -> None:
    empty.api.install(version=version)
    assert looked(empty).version >= (0, 21)


def test_a_version_that_cannot_be_told_is_refused_unless_it_is_set(empty: KServeWorld) -> None:
    empty.api.install(version="latest")
    with pytest.raises(RolloutError, match="version can't be told"):
        looked(empty)
    assert looked(empty, version="v0.21.0").version == (0, 21)
    empty.api.forbidden = lambda method, path: path in (DEPLOYMENT, CRD)
    assert looked(empty, version="0.21").version == (0, 21)
    with pytest.raises(RolloutError, match="version can't be told"):
        looked(empty)


def test_a_label_tells_the_version_where_the_image_does_not(empty: KServeWorld) -> None:
    empty.api.install(version="latest")
    there = empty.api.objects[DEPLOYMENT]
    there["metadata"]["labels"] = {"app.kubernetes.io/version": "v0.21.0"}
    assert looked(empty).version == (0, 21)


def test_an_ingress_without_weights_is_refused(empty: KServeWorld) -> None:
    empty.api.install(gateway=False)
    with pytest.raises(RolloutError, match="does not use the Gateway API"):
        looked(empty)


def test_old_crds_under_a_new_controller_are_refused(empty: KServeWorld) -> None:
    spec = empty.api.objects[CRD]["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    del spec["properties"]["spec"]["properties"]["canary"]
    with pytest.raises(RolloutError, match=r"no field spec\.canary"):
        looked(empty)


def test_no_kserve_at_all_is_said(empty: KServeWorld) -> None:
    del empty.api.objects[CONFIG_MAP]
    with pytest.raises(RolloutError, match="KServe is not in the namespace kserve"):
        looked(empty)


def test_a_transformer_is_refused(standard: KServeWorld) -> None:
    service = standard.api.service(NAME)
    service["spec"]["transformer"] = {"containers": []}
    standard.api.put(SERVICE, service)
    with pytest.raises(RolloutError, match="has a transformer"):
        looked(standard)


def test_a_name_that_is_too_long_for_a_canary_is_refused() -> None:
    require_short("a" * 37, "m-0123456789ab")
    with pytest.raises(RolloutError, match="64 characters"):
        require_short("a" * 39, "m-0123456789ab")


# The fake is as strict as the real one, or it proves nothing.


def test_an_unknown_field_is_refused_and_the_error_names_it(standard: KServeWorld) -> None:
    cluster = Cluster.connect(standard.config().rollout.targets.kserve)
    kind = Resource("serving.kserve.io/v1beta1", "inferenceservices", "default")
    typo = {"spec": {"predictor": {"minReplica": 2}}}
    with pytest.raises(RolloutError, match=r'unknown field "spec\.predictor\.minReplica"'):
        cluster.change(kind, NAME, lambda service: typo)
    wrong: dict[str, Any] = {"spec": {"predictor": {"minReplicas": "2"}}}
    with pytest.raises(RolloutError, match=r"422 Invalid.*spec\.predictor\.minReplicas"):
        cluster.change(kind, NAME, lambda service: wrong)
    many: dict[str, Any] = {"spec": {"canary": [{"trafficPercent": 101, "predictor": {}}]}}
    with pytest.raises(RolloutError, match=r"denied the request: .*predictor\.name is required"):
        cluster.change(kind, NAME, lambda service: many)
    with pytest.raises(RolloutError, match="there is no inferenceservices/nothing"):
        cluster.change(kind, "nothing", lambda service: typo)


def test_without_strictness_a_typo_is_dropped_in_silence(standard: KServeWorld) -> None:
    typo = {"spec": {"predictor": {"minReplica": 2}}}
    code, after = standard.api.handle("PATCH", SERVICE, strict=False, body=typo)
    assert code == 200
    assert "minReplica" not in after["spec"]["predictor"]


def test_the_released_sdk_knows_the_canary_and_its_status() -> None:
    canary = {"spec": {"canary": [{"trafficPercent": 5, "predictor": {"name": "v2"}}]}}
    entry = {"name": "v2", "ready": True, "trafficPercent": 5, "modelStatus": {}}
    known = {**canary, "status": {"canaryStatuses": [entry]}}
    assert unknown_fields(known, "V1beta1InferenceService") == []
    assert unknown_fields({"spec": {"canaries": []}}, "V1beta1InferenceService") == [
        "spec.canaries"
    ]
    booled = {"spec": {"predictor": {"minReplicas": True}}}
    assert wrong_types(booled, "V1beta1InferenceService") == ["spec.predictor.minReplicas"]


# Patches, by property.

VERSIONS = st.sampled_from([f"m-{n:012x}" for n in range(5)])


def predictor_of(version: str) -> dict[str, Any]:
    model = {"runtime": f"{NAME}-{version}", "storageUri": f"s3://models/{version}"}
    return {"name": version, "labels": {"version": version}, "model": model}


@st.composite
def services(draw: st.DrawFn, mode: Mode) -> dict[str, Any]:
    """An InferenceService without a canary."""
    predictor = predictor_of(draw(VERSIONS))
    if mode is Mode.KNATIVE:
        del predictor["name"]
    if draw(st.booleans()):
        predictor["minReplicas"] = draw(st.integers(1, 20))
    if draw(st.booleans()):
        predictor["maxReplicas"] = predictor.get("minReplicas", 1) + draw(st.integers(0, 20))
    mark = {"serving.kserve.io/deploymentMode": mode.value.capitalize()}
    created = {"components": {"predictor": {"latestCreatedRevision": "r-00001"}}}
    metadata = {"name": NAME, "annotations": mark}
    return {"metadata": metadata, "spec": {"predictor": predictor}, "status": created}


def checked(before: dict[str, Any], patch: dict[str, Any]) -> dict[str, Any]:
    """Apply a patch as the API server does."""
    after: dict[str, Any] = merged(before, json.loads(json.dumps(patch)))
    assert unknown_fields(after, "V1beta1InferenceService") == []
    assert wrong_types(after, "V1beta1InferenceService") == []
    assert denial(after, before) == ""
    return after


@pytest.mark.parametrize("mode", list(Mode))
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_every_way_through_a_rollout_ends_in_one_version_and_its_old_size(
    mode: Mode, data: st.DataObject
) -> None:
    before = data.draw(services(mode))
    live = version_of(before["spec"]["predictor"], NAME)
    assert live is not None
    new = data.draw(VERSIONS.filter(lambda version: version != live))
    least = data.draw(st.integers(1, 4))
    wanted = predictor_of(new)
    if data.draw(st.booleans()):  # a scaler is for the stable arm: KServe refuses it on a canary
        wanted["maxReplicas"] = 30
    started = patches.start(before, mode, wanted, owner="us", live=live, least=least)
    now = checked(before, started)
    seen = situation(now, mode)
    assert (seen.live, seen.canary, seen.percent, seen.owner) == (live, new, 0, "us")
    for percent in data.draw(st.lists(st.integers(0, 100), max_size=4)):
        patch = patches.ramp(now, mode, percent, least=least)
        now = checked(now, patch) if patch else now
        assert patches.ramp(now, mode, percent, least=least) is None, "twice is once"
        seen = situation(now, mode)
        share = percent if mode is Mode.STANDARD else min(percent, patches.KNATIVE_MOST)
        assert (seen.live, seen.canary, seen.percent) == (live, new, share)
        if mode is Mode.STANDARD and not before["spec"]["predictor"].get("maxReplicas"):
            canary = now["spec"]["canary"][0]["predictor"]["minReplicas"]
            had = before["spec"]["predictor"].get("minReplicas", 1)
            assert now["spec"]["predictor"]["minReplicas"] - canary == had
            assert canary >= max(least, had * percent / 100)
    sizes = [before["spec"]["predictor"].get("minReplicas")]
    back = checked(now, patches.rollback(now, mode))
    assert situation(back, mode).live == live
    assert not situation(back, mode).present
    won = checked(now, patches.promote(now, mode))
    assert situation(won, mode).live == new
    assert not situation(won, mode).present
    assert OWNER not in won["metadata"]["annotations"]
    if mode is Mode.STANDARD:
        assert back == before
        assert won["spec"]["predictor"]["model"] == predictor_of(new)["model"]
        assert [won["spec"]["predictor"].get("minReplicas")] == sizes


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(0, 3) | st.sampled_from(["a", "b"]),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("xyz"), inner, max_size=3)
    ),
    max_leaves=8,
)


@settings(max_examples=100, deadline=None)
@given(target=JSON, patch=JSON)
def test_a_merge_patch_made_twice_is_made_once(target: Any, patch: Any) -> None:
    once = merged(target, patch)
    assert merged(once, patch) == once


@pytest.mark.parametrize(
    ("target", "patch", "result"),
    [  # the examples of RFC 7386, appendix A
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        (["a", "b"], ["c", "d"], ["c", "d"]),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_merge_patches_are_those_of_the_rfc(target: Any, patch: Any, result: Any) -> None:
    assert merged(target, patch) == result


# What a status says.


def test_observed_generation_says_nothing() -> None:
    service = {
        "metadata": {"name": NAME, "generation": 2},
        "spec": {"predictor": predictor_of(STABLE)},
        "status": {"observedGeneration": 2, "conditions": [{"type": "Ready", "status": "True"}]},
    }
    reading = status.canary(service, Mode.STANDARD, CANDIDATE, 0)
    assert reading.progress is Progress.PROGRESSING
    assert not reading.reported


@pytest.mark.parametrize(
    ("entry", "condition", "progress", "reported"),
    [
        ({"ready": True, "trafficPercent": 5}, "True", Progress.READY, True),
        ({"ready": True, "trafficPercent": 5}, "False", Progress.PROGRESSING, True),
        ({"ready": False, "trafficPercent": 5}, "False", Progress.PROGRESSING, True),
        # Ready with another share: that one is the controller's to change.
        ({"ready": True, "trafficPercent": 25}, "True", Progress.PROGRESSING, False),
        (
            {"ready": True, "modelStatus": {"transitionStatus": "BlockedByFailedLoad"}},
            "True",
            Progress.FAILED,
            True,
        ),
        (
            {"ready": False, "modelStatus": {"transitionStatus": "InvalidSpec"}},
            "False",
            Progress.FAILED,
            True,
        ),
        (  # the runtime was created a moment ago
            {
                "ready": False,
                "modelStatus": {
                    "transitionStatus": "InvalidSpec",
                    "lastFailureInfo": {"reason": "RuntimeNotRecognized"},
                },
            },
            "False",
            Progress.PROGRESSING,
            True,
        ),
    ],
)
def test_a_canarys_status_is_read_in_three_values(
    entry: dict[str, Any], condition: str, progress: Progress, reported: bool
) -> None:
    service = {
        "metadata": {"name": NAME},
        "spec": {"predictor": predictor_of(STABLE)},
        "status": {
            "canaryStatuses": [{"name": CANDIDATE, **entry}],
            "conditions": [{"type": "CanaryPredictorReady", "status": condition}],
        },
    }
    reading = status.canary(service, Mode.STANDARD, CANDIDATE, 5)
    assert (reading.progress, reading.reported) == (progress, reported)
    assert (reading.reason == "") == (progress is Progress.READY)


@pytest.mark.parametrize(
    ("changed", "progress"),
    [
        ({}, Progress.READY),
        ({"latestReadyRevision": "r1"}, Progress.PROGRESSING),
        ({"latestCreatedRevision": "r1"}, Progress.PROGRESSING),
        ({"latestRolledoutRevision": "r2"}, Progress.PROGRESSING),
        (
            {"traffic": [{"latestRevision": True, "revisionName": "r1", "percent": 5}]},
            "progressing",
        ),
        (
            {"traffic": [{"latestRevision": True, "revisionName": "r2", "percent": 9}]},
            "progressing",
        ),
        ({"traffic": []}, Progress.PROGRESSING),
    ],
)
def test_a_knative_canary_is_ready_when_every_revision_says_so(
    changed: dict[str, Any], progress: str
) -> None:
    newest = {"latestRevision": True, "revisionName": "r2", "percent": 5}
    component = {
        "latestCreatedRevision": "r2",
        "latestReadyRevision": "r2",
        "latestRolledoutRevision": "r1",
        "traffic": [newest, {"revisionName": "r1", "percent": 95, "latestRevision": False}],
        **changed,
    }
    mark = {"ostinato.example/revision-before": "r1"}
    service = {
        "metadata": {"name": NAME},
        "spec": {"predictor": {"annotations": mark, "canaryTrafficPercent": 5}},
        "status": {"components": {"predictor": component}},
    }
    assert status.canary(service, Mode.KNATIVE, CANDIDATE, 5).progress == progress
    # What an older revision failed of is no news of this one.
    service["status"]["modelStatus"] = {"transitionStatus": "BlockedByFailedLoad"}
    expected = "progressing" if component["latestCreatedRevision"] == "r1" else "failed"
    assert status.canary(service, Mode.KNATIVE, CANDIDATE, 5).progress == expected
