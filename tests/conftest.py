"""What all tests share: where data and programs are, and what happens where they aren't."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--fail-on-skip", action="store_true", help="A skipped test fails (used by CI)."
    )


def _data() -> Path:
    return Path(os.environ.get("OSTINATO_DATA", ROOT.parent / "shared" / "data"))


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("needs_data") and not _data().is_dir():
        pytest.skip(f"no data at {_data()}; set OSTINATO_DATA")
    if item.get_closest_marker("needs_chromium") and not chromium():
        pytest.skip("no chromium program; install Debian's package chromium")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Iterator[pytest.TestReport]:
    report = yield
    if report.skipped and item.config.getoption("--fail-on-skip"):
        report.outcome = "failed"
        report.longrepr = f"skipped where nothing may be skipped: {report.longrepr}"
    return report


def chromium() -> str | None:
    return shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of the real data sets; its README tells where each comes from."""
    return _data()
