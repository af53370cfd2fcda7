"""The Terraform modules: formatted, valid against the AWS provider, every variable explained.

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
        timeout=120,
        check=False,
        env={**os.environ, "CHECKPOINT_DISABLE": "1", **environment},
    )


@pytest.mark.may_skip
def test_every_file_is_formatted():
    told = terraform("fmt", "-check", "-recursive", "-diff", folder=HERE)
    assert told.returncode == 0, told.stdout


@pytest.mark.may_skip
def test_the_modules_are_valid_against_the_provider(tmp_path):
    folder = tmp_path / "terraform"
    shutil.copytree(HERE, folder, ignore=shutil.ignore_patterns(".terraform*"))
    environment = {}
    if mirror := os.environ.get("OSTINATO_TERRAFORM_MIRROR"):
        (tmp_path / "rc").write_text(
            f'provider_installation {{\n  filesystem_mirror {{ path = "{mirror}" }}\n}}\n'
        )
        environment["TF_CLI_CONFIG_FILE"] = str(tmp_path / "rc")
    init = terraform("init", "-backend=false", "-input=false", folder=folder, **environment)
    if init.returncode and "provider" in init.stderr:
        pytest.skip("terraform finds no AWS provider 5.100.0; see OSTINATO_TERRAFORM_MIRROR")
    assert init.returncode == 0, init.stderr
    told = terraform("validate", "-no-color", folder=folder, **environment)
    assert told.returncode == 0, told.stdout + told.stderr


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
