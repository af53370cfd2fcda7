"""Every test that the operations page names as proof is there."""

from __future__ import annotations

import re

from rendered import ROOT

PAGE = ROOT / "docs" / "operations.md"


def test_every_test_that_is_named_as_proof_is_there():
    paths = {path.name: path for path in (ROOT / "tests").rglob("test_*.py")}
    named = 0
    for line in PAGE.read_text().splitlines():
        file = None
        for path, test in re.findall(r"`([\w/]*\.py)?::(test_\w+)`", line):
            file = path.rpartition("/")[2] or file
            assert file in paths, f"{path}: {line[:60]}"
            assert f"def {test}(" in paths[file].read_text(), f"{file}::{test}"
            named += 1
    assert named > 20
