"""Bills of materials: made by the script that images are made with, and true."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from image_contents import IMAGES, images, locked
from packaging.utils import canonicalize_name
from rendered import ROOT

SCRIPT = IMAGES / "install.sh"
BIN = Path(sys.executable).parent


def test_the_command_describes_an_application_and_no_package_where_there_is_none(tmp_path):
    """The script's own words, for an environment with nothing in it."""
    (words,) = re.findall(
        r'^"\$tools/cyclonedx-py" ((?:.*\\\n)*.*)$', SCRIPT.read_text(), re.MULTILINE
    )
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "e"], check=True)
    (tmp_path / "sbom").mkdir()
    told = subprocess.run(
        ["sh", "-euc", f'"{BIN}/cyclonedx-py" {words}'],
        cwd=ROOT,
        env={**os.environ, "ROOT": str(tmp_path), "image": "x", "place": str(tmp_path / "e")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode == 0, told.stderr
    bill = json.loads((tmp_path / "sbom" / "ostinato-x.cdx.json").read_text())
    assert bill["bomFormat"] == "CycloneDX"
    assert bill["metadata"]["component"]["name"] == "ostinato"
    assert bill["metadata"]["component"]["type"] == "application"
    assert not bill.get("components")


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_bill_lists_exactly_what_is_installed_at_the_versions_of_the_lock(tmp_path):
    """Needs a package index."""
    tools = tmp_path / "tools" / "bin"
    tools.mkdir(parents=True)
    for program in ("uv", "cyclonedx-py"):
        (tools / program).symlink_to(BIN / program)
    (tmp_path / "opt").mkdir()
    for name in ("pyproject.toml", "requirements.lock"):
        shutil.copy(ROOT / name, tmp_path)
    variables = {**os.environ, "ROOT": str(tmp_path), "PATH": f"{BIN}:{os.environ['PATH']}"}
    told = subprocess.run(
        ["sh", SCRIPT, "outcome", *images()["outcome"].extras],
        cwd=tmp_path,
        env=variables,
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode == 0, told.stdout + told.stderr
    python = tmp_path / "opt" / "ostinato" / "bin" / "python"
    listed = subprocess.run(
        [BIN / "uv", "pip", "list", "--python", python, "--format", "json"],
        capture_output=True,
        text=True,
        check=True,
    )
    installed = {canonicalize_name(e["name"]): e["version"] for e in json.loads(listed.stdout)}
    bill = json.loads((tmp_path / "sbom" / "ostinato-outcome.cdx.json").read_text())
    named = {canonicalize_name(e["name"]): e["version"] for e in bill["components"]}
    assert len(bill["components"]) == len(named)
    assert named == installed
    assert {name: locked().get(name) for name in named} == named
    for each in bill["components"]:
        assert each["purl"] == f"pkg:pypi/{canonicalize_name(each['name'])}@{each['version']}"
