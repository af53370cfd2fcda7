"""Every overlay renders, and every object in it fits its schema, to the last field.

Core kinds by Kubernetes' own schemas (kubernetes-validate, strict), the InferenceService by the
field set of KServe's released SDK, other custom resources by schemas written from documentation.
"""

from __future__ import annotations

import copy
import json
import re
import shutil
import sys
from pathlib import Path

import kubernetes_validate
import pytest
import yaml
from rendered import (
    ARGOCD,
    KUSTOMIZE,
    OVERLAYS,
    ROOT,
    SCHEMAS,
    name_of,
    of_kind,
    overlay,
    problems,
    render,
    schema,
)

sys.path.append(str(ROOT / "tests" / "serving" / "rollout" / "kserve"))

OLDEST, NEWEST = "1.33", "1.37"
CORE = re.compile(r"^(v1|apps/.*|policy/.*|(?!gateway\.)[a-z.]+\.k8s\.io/.*)$")
KSERVE = {"InferenceService": "V1beta1InferenceService", "ServingRuntime": "V1alpha1ServingRuntime"}

pytestmark = pytest.mark.may_skip


def is_core(each):
    return bool(CORE.match(each["apiVersion"]))


@pytest.mark.parametrize("environment", OVERLAYS)
def test_every_core_object_fits_its_schema_strictly(environment):
    core = [each for each in overlay(environment) if is_core(each)]
    assert len(core) > 40
    # What differs from prod in the environment's name only is looked at there.
    known = {as_prod(each, "prod") for each in overlay("prod")} if environment != "prod" else set()
    looked_at = [each for each in core if as_prod(each, environment) not in known]
    assert looked_at
    for each in looked_at:
        for version in (OLDEST, NEWEST) if environment == "prod" else (OLDEST,):
            kubernetes_validate.validate(each, version, strict=True)


def as_prod(each, environment):
    return json.dumps(each, sort_keys=True).replace(environment, "prod")


@pytest.mark.parametrize("environment", OVERLAYS)
def test_every_custom_resource_fits_its_schema(environment):
    from kserve_schema import denial, unknown_fields, wrong_types

    custom = [each for each in overlay(environment) if not is_core(each)]
    for each in custom:
        if model := KSERVE.get(each["kind"]):
            assert unknown_fields(each, model) == []
            assert wrong_types(each, model) == []
            assert denial(each, None) == ""
        else:
            assert problems(each) == [], name_of(each)
    assert {each["kind"] for each in custom} >= {"EventBus", "EventSource", "Sensor", "Certificate"}


def test_a_typo_in_any_field_of_any_kind_is_found():
    from kserve_schema import unknown_fields

    tried = set()
    for each in (*overlay("dev"), *overlay("prod"), *argocd()):
        if each["kind"] in tried or "spec" not in each:
            continue
        tried.add(each["kind"])
        broken = copy.deepcopy(each)
        deepest(broken["spec"])["replcias"] = 1
        if is_core(each):
            with pytest.raises(kubernetes_validate.ValidationError):
                kubernetes_validate.validate(broken, OLDEST, strict=True)
        elif model := KSERVE.get(each["kind"]):
            assert unknown_fields(broken, model)
        else:
            assert problems(broken), each["kind"]
    # Components that no overlay names have tests of their own (test_features_on_ray).
    assert {path.stem for path in SCHEMAS.glob("*.json")} - {"RayCluster"} <= tried


def deepest(spec):
    """Return a mapping well inside, one whose keys are fields and not free names."""
    free = {"matchLabels", "labels", "annotations", "hard", "requests", "limits", "elements"}
    here, depth, best = [(spec, 0)], 0, spec
    while here:
        value, depth_here = here.pop()
        if isinstance(value, list):
            here += [(item, depth_here) for item in value]
        elif isinstance(value, dict):
            if depth_here > depth and not any(isinstance(v, dict | list) for v in value.values()):
                best, depth = value, depth_here
            for key, item in value.items():
                if key not in free and key not in ("rules", "template"):
                    here.append((item, depth_here + 1))
    return best


def test_our_schemas_leave_no_object_open_by_accident():
    def look(value, path):
        if isinstance(value, dict):
            if "properties" in value:
                assert value.get("additionalProperties") is False, path
            for key, item in value.items():
                look(item, f"{path}.{key}")
        elif isinstance(value, list):
            for index, item in enumerate(value):
                look(item, f"{path}[{index}]")

    for path in SCHEMAS.glob("*.json"):
        look(schema(path.stem), path.stem)


@pytest.mark.parametrize("environment", OVERLAYS)
def test_every_object_names_its_namespace_and_is_there_once(environment):
    cluster = {"Namespace", "Profile", "ClusterRole", "ClusterRoleBinding", "PriorityClass"}
    seen = set()
    for each in overlay(environment):
        namespace = each["metadata"].get("namespace")
        assert (namespace is None) == (each["kind"] in cluster), name_of(each)
        assert namespace in (None, "ostinato", "kserve")
        assert (each["kind"], namespace, each["metadata"]["name"]) not in seen
        seen.add((each["kind"], namespace, each["metadata"]["name"]))


@pytest.mark.parametrize("environment", OVERLAYS)
def test_the_configuration_is_one_that_our_code_reads(environment):
    from feature_repo.locations import PROJECT_VARIABLE, project_name
    from feature_repo.profile import read_profile
    from recommender.config import load

    config = load(KUSTOMIZE / "overlays" / environment / "config.yaml")
    (settings,) = [
        each["data"]
        for each in of_kind(environment, "ConfigMap")
        if each["metadata"]["name"].startswith("ostinato-environment")
    ]
    assert settings[PROJECT_VARIABLE] == project_name(config, "live")
    secrets = {
        "OSTINATO_REDIS": "redis:6379,db=0,password=x",
        "OSTINATO_REGISTRY": "postgresql+psycopg://user:password@host:5432/base",
    }
    # The placeholder is no name of a bucket: a server that got it says so when it starts.
    filled = {key: value.replace("ACCOUNT", "0" * 12) for key, value in settings.items()}
    profile = read_profile({**filled, **secrets})
    assert not profile.embedded
    (claim,) = of_kind(environment, "PersistentVolumeClaim")
    assert claim["metadata"]["name"] == f"{config.name}-workspace"
    (service,) = of_kind(environment, "InferenceService")
    assert service["metadata"]["name"] == config.serving.name
    env = {each["name"]: each.get("value") for each in service["spec"]["predictor"]["model"]["env"]}
    assert env["OSTINATO_OFFLINE"] == settings["OSTINATO_OFFLINE"]
    assert config.rollout.targets.kserve.namespace == "ostinato"
    assert config.serving.log.location.startswith("s3://"), "a pod's workspace is read-only"
    assert config.registry.location.startswith("s3://"), "model servers fetch versions from there"


@pytest.mark.parametrize("environment", ["staging", "prod"])
def test_a_release_that_is_pinned_can_be_submitted_and_ends_in_a_version_that_is_served(
    environment, tmp_path, monkeypatch
):
    sys.path.append(str(KUSTOMIZE))
    import pin

    from pipelines.backend.step_resources import uploaded
    from pipelines.compile import COMPILED
    from pipelines.steps import NEEDS
    from recommender.config import load
    from recommender.errors import ConfigError
    from recommender.registry import Registry
    from serving.inference_service import manifests

    shutil.copytree(KUSTOMIZE / "overlays" / environment, tmp_path / environment)
    path = tmp_path / environment / "config.yaml"
    with pytest.raises(ConfigError, match="no digest yet"):
        uploaded(COMPILED, load(path))
    names = ("feature-server", "stream", "triggers", *NEEDS, "serve")
    digest = "sha256:" + "ab" * 32
    given = [f"ostinato-{n}=registry.example.com/{n}@{digest}" for n in names]
    assert pin.main([environment, *given], tmp_path) == 0
    config = load(path, {"workspace": str(tmp_path / "workspace")})
    assert f"image: registry.example.com/deploy@{digest}" in uploaded(COMPILED, config)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    place = Registry.configured(config).uri("m-1")
    assert place == f"s3://ostinato-{environment}-registry-ACCOUNT/shop/models/m-1"
    settings = config.rollout.targets.gitops
    runtime, service = manifests(config, "m-1", place, "shop", settings.image)
    assert runtime["spec"]["containers"][0]["image"] == f"registry.example.com/serve@{digest}"
    assert service["spec"]["predictor"]["model"]["storageUri"] == place


@pytest.mark.parametrize("environment", ["staging", "prod"])
def test_every_bucket_that_is_named_is_made_by_terraform_with_the_accounts_number(environment):
    """Names of buckets are the whole world's: without the number somebody else may have one."""
    module = ROOT / "infra" / "terraform" / "modules" / "storage" / "main.tf"
    code = module.read_text()
    (pattern,) = re.findall(r"^  bucket\s+= (\"\$\{var\.name\}-.*)$", code, re.MULTILINE)
    assert pattern == '"${var.name}-${each.key}-${data.aws_caller_identity.current.account_id}"'
    kinds = re.findall(r"^    (\w+)\s+= \{ old_versions", code, re.MULTILINE)
    made = {f"ostinato-{environment}-{kind}-ACCOUNT" for kind in kinds}
    folder = KUSTOMIZE / "overlays" / environment
    named = {
        name
        for path in folder.rglob("*")
        if path.is_file()
        for name in re.findall(r"s3://([^/\s]+)/", path.read_text())
    }
    assert named <= made
    assert {name.split("-")[2] for name in named} == {"data", "features", "registry", "logs"}


@pytest.mark.parametrize("environment", OVERLAYS)
def test_the_bot_can_roll_out_in_the_overlays_layout(environment):
    from serving.rollout.gitops.layout import parse, render
    from serving.rollout.gitops.people import people
    from serving.rollout.gitops.shares import Model, Shares

    path = f"infra/kustomize/overlays/{environment}/serving"

    def read(name):
        return (ROOT / name).read_text() if (ROOT / name).is_file() else None

    theirs = people(read, path, "rollout", "ostinato")
    candidate = Model("m-2", "s3://models/m-2", "ostinato-m-2")
    stable = Model("m-1", "s3://models/m-1", "ostinato-m-1")
    runtimes = {m.runtime: {"metadata": {"name": m.runtime}} for m in (stable, candidate)}
    files = render(Shares(stable, candidate, 5), "r-1", theirs, 1, runtimes)
    assert parse(files, "rollout").shares.percent == 5
    assert not parse({name: read(f"{path}/rollout/{name}") for name in files}, "rollout").edited


def test_the_bots_rollout_renders_in_the_namespace_with_a_canary(tmp_path):
    from serving.rollout.gitops.layout import render as files_of
    from serving.rollout.gitops.people import people
    from serving.rollout.gitops.shares import Model, Shares

    shutil.copytree(KUSTOMIZE / "overlays" / "prod" / "serving", tmp_path / "serving")

    def read(name):
        path = tmp_path / name
        return path.read_text() if path.is_file() else None

    from rendered import serving_runtime

    models = [Model(v, f"s3://models/{v}", f"ostinato-{v}") for v in ("m-1", "m-2")]
    runtimes = {
        m.runtime: {
            **serving_runtime(),
            "metadata": {**serving_runtime()["metadata"], "name": m.runtime},
        }
        for m in models
    }
    theirs = people(read, "serving", "rollout", "ostinato")
    for name, text in files_of(Shares(*models, 5), "r-1", theirs, 1, runtimes).items():
        if text is not None:
            (tmp_path / "serving" / "rollout" / name).write_text(text)
    objects = render(tmp_path / "serving")
    assert {each["metadata"]["namespace"] for each in objects} == {"ostinato"}
    (service,) = [each for each in objects if each["kind"] == "InferenceService"]
    (canary,) = service["spec"]["canary"]
    assert canary["trafficPercent"] == 5
    assert canary["predictor"]["serviceAccountName"] == "serve"
    assert [e["name"] for e in canary["predictor"]["model"]["env"]] == [
        e["name"] for e in service["spec"]["predictor"]["model"]["env"]
    ]


def argocd():
    return render(ARGOCD)


def test_argo_cds_objects_fit_their_schemas_and_let_in_what_the_overlays_hold():
    objects = {each["kind"]: each for each in argocd()}
    assert problems(objects["AppProject"]) == []
    assert problems(objects["ApplicationSet"]) == []
    project = objects["AppProject"]["spec"]
    allowed = {
        (rule["group"], rule["kind"])
        for rule in project["clusterResourceWhitelist"] + project["namespaceResourceWhitelist"]
    }
    held = {
        (each["apiVersion"].rpartition("/")[0], each["kind"])
        for environment in OVERLAYS
        for each in overlay(environment)
    } | {("serving.kserve.io", "ServingRuntime")}
    # Components that no overlay names yet come in as soon as one does.
    held |= {
        (each["apiVersion"].rpartition("/")[0], each["kind"])
        for path in (KUSTOMIZE / "components").glob("*/*.yaml")
        for each in yaml.safe_load_all(path.read_text())
        if each["kind"] not in ("Component", "Kustomization", "LabelTransformer")
    }
    assert allowed == held
    places = {each["namespace"] for each in project["destinations"]}
    assert places == {"ostinato", "kserve"}
    elements = objects["ApplicationSet"]["spec"]["generators"][0]["list"]["elements"]
    assert {each["environment"] for each in elements} == set(OVERLAYS)


def test_argo_cd_leaves_alone_what_the_deploy_step_patches_and_only_there():
    """Whoever drives the rollout by the overlay's configuration is who Argo CD makes room for."""
    from recommender.config import load
    from serving.rollout.kserve import patches
    from serving.rollout.kserve.situation import OWNER, REPLICAS, Mode

    (found,) = [each for each in argocd() if each["kind"] == "ApplicationSet"]
    for element in found["spec"]["generators"][0]["list"]["elements"]:
        path = KUSTOMIZE / "overlays" / element["environment"] / "config.yaml"
        target = load(path).rollout.target
        assert element["rollouts"] == {"kserve": "kserve", "gitops": "git"}[target]
    told = found["spec"]["templatePatch"]
    conditional = told[told.index('eq .rollouts "kserve"') :]
    ignored = re.findall(r"^\s+- (\.\S+)$", conditional, re.MULTILINE)
    assert f'.metadata.annotations["{OWNER}"]' in ignored
    assert f'.metadata.annotations["{REPLICAS}"]' in ignored
    plain = found["spec"]["template"]["spec"]["ignoreDifferences"]
    assert not any(each["kind"] == "InferenceService" for each in plain)
    assert (
        "RespectIgnoreDifferences=true"
        in found["spec"]["template"]["spec"]["syncPolicy"]["syncOptions"]
    )
    (service,) = of_kind("dev", "InferenceService")
    canary = {**service["spec"]["predictor"], "name": "m-2"}
    begun = patches.start(service, Mode.STANDARD, canary, owner="me", live="m-1", least=1)
    for field, changed in begun["spec"].items():
        names = [field] if field == "canary" else [f"{field}.{key}" for key in changed]
        assert all(f".{'spec.' + name}" in ignored for name in names), names


@pytest.mark.parametrize("rollouts", ["git", "kserve"])
def test_the_patch_of_an_application_is_one_that_argo_cd_takes(rollouts):
    """The template's own few words are filled in here as Go would."""
    from jsonschema import Draft202012Validator

    (found,) = [each for each in argocd() if each["kind"] == "ApplicationSet"]
    text = found["spec"]["templatePatch"].replace("{{ .prune }}", "true")
    whole = re.sub(r"\{\{- if .*?\}\}(.*?)\{\{- end \}\}", r"\1", text, flags=re.DOTALL)
    bare = re.sub(r"\s*\{\{- if .*?\{\{- end \}\}", "", text, flags=re.DOTALL)
    patch = yaml.safe_load(whole if rollouts == "kserve" else bare)
    assert "{{" not in str(patch)
    spec = {**found["spec"]["template"]["spec"], **patch["spec"]}
    told = schema("ApplicationSet")
    validator = Draft202012Validator({"$ref": "#/$defs/application", "$defs": told["$defs"]})
    assert [error.message for error in validator.iter_errors(spec)] == []
    kinds = {each["kind"] for each in spec["ignoreDifferences"]}
    assert ("InferenceService" in kinds) == (rollouts == "kserve")
    assert "PersistentVolumeClaim" in kinds


def test_what_the_deployments_start_is_what_our_programs_take(tmp_path):
    from typer.testing import CliRunner

    from feature_repo import serve
    from feature_repo.stream import http
    from pipelines.cli import app

    found = {}
    for each in of_kind("prod", "Deployment"):
        (container,) = each["spec"]["template"]["spec"]["containers"]
        found[each["metadata"]["name"]] = container["command"]
        (port,) = [each["containerPort"] for each in container["ports"]]
        assert container["command"][container["command"].index("--port") + 1] == str(port)
    features = found["feature-server"]
    assert features[:3] == ["python", "-m", serve.__name__]
    options = serve._options(features[3:])
    assert str(options.key).startswith("/etc/ostinato/tls/")
    # Understood, and ended by the configuration, which isn't there: 2 would be the usage.
    missing = str(tmp_path / "config.yaml")
    mounted = "/etc/ostinato/config/config.yaml"
    stream = [missing if word == mounted else word for word in found["stream"]]
    assert stream[:3] == ["python", "-m", http.__name__]
    assert missing in stream
    assert http.main(stream[3:]) == 1
    triggers = [missing if word == mounted else word for word in found["triggers"]]
    assert triggers[:3] == ["python", "-m", "pipelines.cli"]
    told = CliRunner().invoke(app, triggers[3:])
    assert told.exit_code != 2
    assert "No such option" not in told.output


def test_images_are_pinned_by_a_release_and_nothing_else_is_taken(tmp_path, capsys):
    sys.path.append(str(KUSTOMIZE))
    import pin

    from pipelines.steps import NEEDS

    shutil.copytree(KUSTOMIZE / "overlays" / "prod", tmp_path / "prod")
    before = (tmp_path / "prod" / "config.yaml").read_text()
    digest = "sha256:" + "ab" * 32
    names = ("feature-server", "stream", "triggers", *NEEDS, "serve")
    good = [f"ostinato-{n}=registry.example.com/{n}@{digest}" for n in names]
    assert pin.main(["--check", "prod"], tmp_path) == 1
    for bad in (
        good[:1],
        [*good, good[0]],
        [*good[:2], "ostinato-triggers=registry.example.com/triggers:1.0", *good[3:]],
        [*good[:-1], "ostinato-serve=registry.example.com/serve:1.0"],
        good[:-1],
        [*good, f"redis=redis@{digest}"],
    ):
        assert pin.main(["prod", *bad], tmp_path) == 2
    assert pin.main(["prod", *good], tmp_path) == 0
    assert pin.main(["--check", "prod"], tmp_path) == 1
    told = capsys.readouterr().err
    assert "the account's number" in told
    assert "roles.yaml" in told
    for path in (tmp_path / "prod").rglob("*"):
        if path.is_file():
            path.write_text(path.read_text().replace("ACCOUNT", "0" * 12))
    before = before.replace("ACCOUNT", "0" * 12)
    assert pin.main(["--check", "prod"], tmp_path) == 0
    written = yaml.safe_load((tmp_path / "prod" / "images" / "kustomization.yaml").read_text())
    assert written["images"][0]["newName"] == "registry.example.com/feature-server"
    assert Path(tmp_path / "prod/images/kustomization.yaml").read_text().startswith("# Written by")
    assert pin.main(["nowhere"], tmp_path) == 2
    after = (tmp_path / "prod" / "config.yaml").read_text()
    assert f"    ostinato-train: registry.example.com/train@{digest}\n" in after
    # The bot makes a version's ServingRuntime of this, and nothing else is changed above the steps.
    zeros = "ostinato-serve@sha256:" + 64 * "0"
    served = f"registry.example.com/serve@{digest}"
    assert before.count(zeros) == 1
    above = before.replace(zeros, served).partition("backend:")[0]
    assert after.partition("backend:")[0] == above
    from recommender.config import load

    assert load(tmp_path / "prod" / "config.yaml").rollout.targets.gitops.image == served
    for lost in (after.replace(served, zeros), after.replace(served, "serve:1.0")):
        (tmp_path / "prod" / "config.yaml").write_text(lost)
        assert pin.main(["--check", "prod"], tmp_path) == 1
    # Written twice over, a release is the release.
    (tmp_path / "prod" / "config.yaml").write_text(after)
    assert pin.main(["prod", *good], tmp_path) == 0
    assert (tmp_path / "prod" / "config.yaml").read_text() == after
    one_lost = after.replace(
        "ostinato-train: registry.example.com/train@", "ostinato-train: train:"
    )
    (tmp_path / "prod" / "config.yaml").write_text(one_lost)
    assert pin.main(["--check", "prod"], tmp_path) == 1


@pytest.mark.parametrize("environment", OVERLAYS)
def test_a_run_goes_where_its_volume_settings_and_secrets_are(environment):
    from pipelines.steps import NEEDS
    from recommender.config import load

    backend = load(KUSTOMIZE / "overlays" / environment / "config.yaml").backend
    (claim,) = of_kind(environment, "PersistentVolumeClaim")
    assert backend.namespace == claim["metadata"]["namespace"]
    assert backend.service_account
    by_digest = {name for name, image in backend.images.items() if "@sha256:" in image}
    assert by_digest == (set() if environment == "dev" else {f"ostinato-{step}" for step in NEEDS})


def test_an_account_per_step_is_what_clusters_that_can_do_it_are_given():
    """Looked at as an object; no API server evaluates the expression here."""
    from pipelines.steps import STEP_LABEL

    objects = render(KUSTOMIZE / "components" / "accounts-per-step")
    for each in objects:
        kubernetes_validate.validate(each, "1.36", strict=True)
    policy, binding = objects
    assert binding["spec"]["policyName"] == policy["metadata"]["name"]
    chosen = policy["spec"]["matchConstraints"]["objectSelector"]["matchExpressions"]
    assert [each["key"] for each in chosen] == [STEP_LABEL]
    (mutation,) = policy["spec"]["mutations"]
    expression = mutation["applyConfiguration"]["expression"]
    assert f'serviceAccountName: object.metadata.labels["{STEP_LABEL}"]' in expression
    assert expression.count("{") == expression.count("}")
