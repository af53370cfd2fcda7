"""The Terraform modules: formatted, valid, a plan comes of them, every variable explained.

Needs the terraform program, and the provider where terraform looks for it (its CLI configuration,
or a plugin mirror that OSTINATO_TERRAFORM_MIRROR names).
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parents[2] / "infra" / "terraform"
MODULES = sorted(path.parent for path in HERE.glob("modules/*/main.tf"))
BLOCK = re.compile(r'^(variable|output) "(\w+)" \{\n(.*?)^\}', re.MULTILINE | re.DOTALL)


def terraform(*words: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    program = shutil.which("terraform")
    if program is None:
        pytest.skip("no terraform program")
    return subprocess.run(
        [program, *words],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={**os.environ, "CHECKPOINT_DISABLE": "1", **environment},
    )


@pytest.mark.may_skip
def test_every_file_is_formatted():
    told = terraform("fmt", "-check", "-recursive", "-diff", folder=HERE)
    assert told.returncode == 0, told.stdout


@pytest.fixture(scope="module")
def initialised(tmp_path_factory):
    """A copy of the modules with the provider, and the environment that terraform runs in there."""
    if shutil.which("terraform") is None:
        pytest.skip("no terraform program")
    root = tmp_path_factory.mktemp("infra")
    folder = root / "terraform"
    shutil.copytree(HERE, folder, ignore=shutil.ignore_patterns(".terraform*"))
    environment = {}
    if mirror := os.environ.get("OSTINATO_TERRAFORM_MIRROR"):
        (root / "rc").write_text(
            f'provider_installation {{\n  filesystem_mirror {{ path = "{mirror}" }}\n}}\n'
        )
        environment["TF_CLI_CONFIG_FILE"] = str(root / "rc")
    init = terraform("init", "-backend=false", "-input=false", folder=folder, **environment)
    if init.returncode and "provider" in init.stderr:
        pytest.skip("terraform finds no AWS provider 5.100.0; see OSTINATO_TERRAFORM_MIRROR")
    assert init.returncode == 0, init.stderr
    return folder, environment


@pytest.mark.may_skip
def test_the_modules_are_valid_against_the_provider(initialised):
    folder, environment = initialised
    told = terraform("validate", "-no-color", folder=folder, **environment)
    assert told.returncode == 0, told.stdout + told.stderr


@pytest.mark.slow
@pytest.mark.may_skip
def test_a_plan_comes_of_them_where_volumes_and_nodes_can_be_made(initialised):
    """`infra/terraform/tests`, with a provider that answers without an account."""
    folder, environment = initialised
    told = terraform("test", "-no-color", folder=folder, **environment)
    assert told.returncode == 0, told.stdout + told.stderr
    assert "3 passed, 0 failed" in told.stdout


def test_every_class_of_volumes_that_an_overlay_names_is_made():
    code = (HERE / "main.tf").read_text()
    made = set(re.findall(r'kind\s+= "StorageClass"\s+metadata\s+= \{\s*name\s+= "(\w+)"', code))
    named = set()
    for path in (HERE.parent / "kustomize").rglob("*.yaml"):
        named |= set(re.findall(r"storageClassName(?:, value)?: (\w+)", path.read_text()))
    assert "efs" in named
    assert named <= made
    # What names none (the event bus) gets the default.
    assert "is-default-class" in code


@pytest.mark.parametrize("folder", [HERE, *MODULES], ids=lambda folder: folder.name)
def test_every_variable_and_output_is_explained(folder):
    blocks = [m for path in folder.glob("*.tf") for m in BLOCK.finditer(path.read_text())]
    assert blocks
    for kind, name, body in (m.groups() for m in blocks):
        assert re.search(r'description\s+= "[^"]{8,}"', body), f"{kind} {name}"


def test_what_is_declared_is_used_and_nothing_else():
    for folder in (HERE, *MODULES):
        code = "\n".join(path.read_text() for path in folder.glob("*.tf"))
        declared = {m[2] for m in BLOCK.finditer(code) if m[1] == "variable"}
        used = set(re.findall(r"\bvar\.(\w+)", code))
        assert declared == used, folder.name


def test_no_account_address_or_secret_is_written_down():
    for path in HERE.rglob("*.tf"):
        code = path.read_text()
        assert not re.search(r"\b\d{12}\b", code), path
        assert not re.search(r"AKIA[0-9A-Z]{16}", code), path
