"""The KServe manifests of one model version: a ServingRuntime and an InferenceService.

The code is in the runtime (an image, one runtime per version) and the weights are at an immutable
`storageUri`; so a version is the same wherever and whenever it starts, and a canary of one version
never changes what another one runs. Built from the SDK's own models, so that a misspelt field is
an error here and not silently dropped by the cluster.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from recommender.config import Config
from recommender.errors import ServingError
from recommender.files import atomic_file
from serving.freshness import limits_of
from serving.history import StoreHistories
from serving.observing import Observing

FORMAT = "ostinato"
FEATURE_SERVICE = "ostinato.example/feature-service"
"""Annotation that names the feature service of a version."""

IMAGE = "ostinato-serve"
"""Name that a release pins by digest (`images:` in a Kustomize overlay)."""

HTTP_PORT, GRPC_PORT = 8080, 9000
_PUBLIC_KEY = "/etc/ostinato/keys/model-signing.pub"
_WORKSPACE = "/var/lib/ostinato"
# Longer than it takes the Gateway to stop sending, after which the server drains for 20 s.
_PRE_STOP_S, _TERMINATION_S = 10, 45
_USER = 65532


def manifests(
    config: Config, version: str, storage_uri: str, project: str, image: str = IMAGE
) -> list[dict[str, Any]]:
    """Return the manifests of one version, plain and ready for YAML.

    Args:
        config: of the data set.
        version: of the model.
        storage_uri: its immutable place (`Registry.uri`).
        project: Feast project that histories come from.
        image: of the model server, by digest (`name@sha256:…`), or a bare name that a release
            pins.

    Raises:
        ServingError: the image has a tag: what runs would change under a version's feet.
    """
    import kserve
    from kubernetes import client

    if ":" in image.rsplit("/", 1)[-1] and not re.fullmatch(r".+@sha256:[0-9a-f]{64}", image):
        raise ServingError(
            f"{image} can change under the same name", "give the image by digest: name@sha256:…"
        )
    name = config.serving.name
    runtime = f"{name}-{version}"
    labels = {"app.kubernetes.io/name": name, "app.kubernetes.io/version": version}
    formats = [kserve.V1alpha1SupportedModelFormat(name=FORMAT, version="1", auto_select=False)]
    serving_runtime = kserve.V1alpha1ServingRuntime(
        api_version=kserve.constants.KSERVE_V1ALPHA1,
        kind="ServingRuntime",
        metadata=client.V1ObjectMeta(name=runtime, labels=labels),
        spec=kserve.V1alpha1ServingRuntimeSpec(
            supported_model_formats=formats,
            protocol_versions=["v1", "v2", "grpc-v2"],
            multi_model=False,
            containers=[_container(config, version, project, image)],
            volumes=_volumes(config),
        ),
    )
    predictor = kserve.V1beta1PredictorSpec(
        name=version,
        min_replicas=1,
        automount_service_account_token=False,
        termination_grace_period_seconds=_TERMINATION_S,
        security_context=client.V1PodSecurityContext(
            run_as_non_root=True,
            run_as_user=_USER,
            fs_group=_USER,
            seccomp_profile=client.V1SeccompProfile(type="RuntimeDefault"),
        ),
        model=kserve.V1beta1ModelSpec(
            name="kserve-container",
            model_format=kserve.V1beta1ModelFormat(name=FORMAT, version="1"),
            runtime=runtime,
            storage_uri=storage_uri,
        ),
    )
    service = kserve.V1beta1InferenceService(
        api_version=kserve.constants.KSERVE_V1BETA1,
        kind=kserve.constants.KSERVE_KIND_INFERENCESERVICE,
        metadata=client.V1ObjectMeta(
            name=name,
            labels=labels,
            annotations={
                "serving.kserve.io/deploymentMode": "Standard",
                # What its server reads; it loads no model that names another one.
                FEATURE_SERVICE: StoreHistories.feature_service,
            },
        ),
        spec=kserve.V1beta1InferenceServiceSpec(predictor=predictor),
    )
    plain = client.ApiClient().sanitize_for_serialization
    return [plain(serving_runtime), plain(service)]


def write(path: Path, documents: list[dict[str, Any]]) -> None:
    """Write manifests as one YAML file, atomically."""
    with atomic_file(path) as temporary:
        text = yaml.safe_dump_all(documents, sort_keys=False, explicit_start=True)
        temporary.write_text(text, encoding="utf-8")
        temporary.chmod(0o644)


def _container(config: Config, version: str, project: str, image: str) -> Any:
    from kubernetes import client

    name, limits = config.serving.name, limits_of(config, project)
    # KServe's own /v2/health/ready is 200 even if the model is not.
    ready = client.V1HTTPGetAction(path=f"/v2/models/{name}/ready", port=HTTP_PORT)
    alive = client.V1HTTPGetAction(path="/v2/health/live", port=HTTP_PORT)
    resources = {"cpu": config.serving.cpu, "memory": config.serving.memory}
    return client.V1Container(
        name="kserve-container",
        image=image,
        command=["python", "-m", "serving.server"],
        args=[
            *("--model", "/mnt/models", "--version", version, "--name", name),
            *("--workspace", _WORKSPACE, "--project", project),
            *("--read-deadline-s", str(config.serving.read_deadline_s)),
            *("--refresh-s", str(config.serving.refresh_s)),
            *("--compute", config.serving.compute.model_dump_json()),
            *("--observing", Observing.in_a_pod(config).model_dump_json()),
            *(["--freshness", limits.model_dump_json()] if limits.limited else []),
            *("--host", "0.0.0.0"),  # noqa: S104 a pod's own network
            *("--port", str(HTTP_PORT), "--grpc-port", str(GRPC_PORT)),
        ],
        env=[client.V1EnvVar(name="OSTINATO_PUBLIC_KEY", value=_PUBLIC_KEY)],
        env_from=_environment(config.rollout.targets.kserve.environment),
        ports=[
            client.V1ContainerPort(name="http1", container_port=HTTP_PORT, protocol="TCP"),
            client.V1ContainerPort(name="grpc", container_port=GRPC_PORT, protocol="TCP"),
        ],
        # No CPU limit: throttling shows as latency. Memory is a limit, so that a leak ends here.
        resources=client.V1ResourceRequirements(
            requests=resources, limits={"memory": config.serving.memory}
        ),
        startup_probe=client.V1Probe(http_get=ready, period_seconds=2, failure_threshold=90),
        readiness_probe=client.V1Probe(http_get=ready, period_seconds=5, timeout_seconds=2),
        liveness_probe=client.V1Probe(http_get=alive, period_seconds=10, timeout_seconds=5),
        lifecycle=client.V1Lifecycle(
            pre_stop=client.V1LifecycleHandler(sleep=client.V1SleepAction(seconds=_PRE_STOP_S))
        ),
        security_context=client.V1SecurityContext(
            allow_privilege_escalation=False,
            read_only_root_filesystem=True,
            run_as_non_root=True,
            capabilities=client.V1Capabilities(drop=["ALL"]),
        ),
        volume_mounts=[
            client.V1VolumeMount(
                name="public-key", mount_path=str(Path(_PUBLIC_KEY).parent), read_only=True
            ),
            client.V1VolumeMount(name="workspace", mount_path=_WORKSPACE, read_only=True),
            client.V1VolumeMount(name="tmp", mount_path="/tmp"),  # noqa: S108 the pod's own
        ],
    )


def _environment(name: str) -> list[Any] | None:
    from kubernetes import client

    if not name:
        return None
    return [
        client.V1EnvFromSource(
            config_map_ref=client.V1ConfigMapEnvSource(name=name, optional=True)
        ),
        client.V1EnvFromSource(secret_ref=client.V1SecretEnvSource(name=name, optional=True)),
    ]


def _volumes(config: Config) -> list[Any]:
    from kubernetes import client

    claim = client.V1PersistentVolumeClaimVolumeSource(
        claim_name=f"{config.name}-workspace", read_only=True
    )
    return [
        client.V1Volume(
            name="public-key", config_map=client.V1ConfigMapVolumeSource(name="ostinato-public-key")
        ),
        client.V1Volume(name="workspace", persistent_volume_claim=claim),
        client.V1Volume(name="tmp", empty_dir=client.V1EmptyDirVolumeSource(size_limit="1Gi")),
    ]
