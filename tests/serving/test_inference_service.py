"""The manifests hold what KServe's own models know, and nothing that changes under a version."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from recommender.config import parse
from recommender.errors import ServingError
from serving import inference_service

VERSION = "m-0123456789ab"
URI = f"s3://models/{VERSION}"
CONFIG = parse(
    {"name": "my-shop", "source": {"kind": "synthetic"}, "actions": {"types": ["view"]}}, "test"
)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    path: Path = tmp_path_factory.mktemp("manifest") / "inference_service.yaml"
    documents = inference_service.manifests(CONFIG, VERSION, URI, "my_shop")
    inference_service.write(path, documents)
    return list(yaml.safe_load_all(path.read_text()))


def test_the_sdk_reads_back_every_field(
    written: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    import kserve
    from kubernetes import client

    api = client.ApiClient()
    # The Kubernetes client looks types up by name; KServe's are its own.
    for name in (name for name in dir(kserve.models) if name.startswith("V1")):
        monkeypatch.setattr(client.models, name, getattr(kserve.models, name), raising=False)
    kinds = ["V1alpha1ServingRuntime", "V1beta1InferenceService"]
    for document, kind in zip(written, kinds, strict=True):
        model = getattr(kserve, kind)
        read = api.deserialize(SimpleNamespace(data=json.dumps(document)), model)
        assert api.sanitize_for_serialization(read) == document


def test_the_version_is_pinned_in_every_place(written: list[dict[str, Any]]) -> None:
    runtime, service = written
    predictor = service["spec"]["predictor"]
    assert (runtime["kind"], service["kind"]) == ("ServingRuntime", "InferenceService")
    assert predictor["model"]["storageUri"] == URI
    assert predictor["model"]["runtime"] == runtime["metadata"]["name"] == f"ostinato-{VERSION}"
    assert predictor["name"] == VERSION
    assert VERSION in runtime["spec"]["containers"][0]["args"]
    annotations = service["metadata"]["annotations"]
    assert annotations["serving.kserve.io/deploymentMode"] == "Standard"
    assert annotations["ostinato.example/feature-service"] == "unified_v1"


def test_variables_come_from_what_the_settings_name() -> None:
    """A ConfigMap and a Secret: a rollout on a cluster has no other way to reach the stores."""
    targets = CONFIG.rollout.targets
    kserve = targets.kserve.model_copy(update={"environment": "shop-servers"})
    rollout = CONFIG.rollout.model_copy(
        update={"targets": targets.model_copy(update={"kserve": kserve})}
    )
    config = CONFIG.model_copy(update={"rollout": rollout})
    runtime, _ = inference_service.manifests(config, VERSION, URI, "my_shop")
    assert runtime["spec"]["containers"][0]["envFrom"] == [
        {"configMapRef": {"name": "shop-servers", "optional": True}},
        {"secretRef": {"name": "shop-servers", "optional": True}},
    ]
    plain, _ = inference_service.manifests(CONFIG, VERSION, URI, "my_shop")
    assert "envFrom" not in plain["spec"]["containers"][0]


def test_the_pod_is_probed_by_its_model_and_may_do_nothing_else(
    written: list[dict[str, Any]],
) -> None:
    container = written[0]["spec"]["containers"][0]
    for probe in ("readinessProbe", "startupProbe"):
        assert container[probe]["httpGet"]["path"] == "/v2/models/ostinato/ready"
    assert container["lifecycle"]["preStop"]["sleep"]["seconds"] == 10
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    pod = written[1]["spec"]["predictor"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["terminationGracePeriodSeconds"] > 10 + 20


def test_the_arguments_are_those_that_the_server_takes(written: list[dict[str, Any]]) -> None:
    from serving.server import _parser

    given = _parser().parse_args(written[0]["spec"]["containers"][0]["args"])
    assert (given.version, given.project, given.port, given.grpc_port) == (
        VERSION,
        "my_shop",
        8080,
        9000,
    )


def test_an_image_with_a_tag_is_refused_and_one_by_digest_taken() -> None:
    with pytest.raises(ServingError, match="can change under the same name"):
        inference_service.manifests(CONFIG, VERSION, URI, "p", "example.org:5000/serve:latest")
    pinned = f"example.org:5000/serve@sha256:{'0' * 64}"
    runtime, _ = inference_service.manifests(CONFIG, VERSION, URI, "p", pinned)
    assert runtime["spec"]["containers"][0]["image"] == pinned
