"""The table of faults in the operations guide names tests that there are."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_fault_is_shown_by_tests_that_exist():
    text = (ROOT / "docs" / "operations.md").read_text()
    table = text.partition("\n## Faults\n")[2].partition("\n## ")[0]
    rows = [line for line in table.splitlines() if line.startswith("|")][2:]
    assert len(rows) >= 7
    for row in rows:
        file, told = "", 0
        for path, name in re.findall(r"`([\w/]+\.py)?::(test_\w+)`", row):
            file = path or file
            (found,) = (ROOT / "tests").rglob(file)
            assert f"def {name}(" in found.read_text(), f"{file} has no {name}"
            told += 1
        assert told == row.count("::test_") > 0, row
