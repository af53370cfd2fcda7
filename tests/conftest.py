"""What all tests share: data, programs, and an S3 server (moto, over HTTP)."""

from __future__ import annotations

import os
import shutil
import signal
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import prometheus_client  # noqa: F401  (see below)
import pytest
from hypothesis import settings

# A property holds or it doesn't; how long an example takes is the machine's business.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")

# Feast, once imported, lets Prometheus count in files that all registries of a process share, if
# Prometheus comes after it. Tests look at the figures of one registry, so it comes first.

ROOT = Path(__file__).parents[1]

SHOP = ("e2e/test_whole_way.py", "e2e/test_wrong_ways.py")

S3_VARIABLES = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
    # Neither this machine's profile nor its certificates have a say in tests.
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--fail-on-skip", action="store_true", help="A skipped test fails (used by CI)."
    )


def pytest_configure(config: pytest.Config) -> None:
    # A shell that starts this in the background has Ctrl-C ignored, and the programs that tests
    # start would inherit that.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # Workers share the cores. With a thread per core each, torch's and OpenBLAS's threads wait for
    # one another in loops that take the cores from the other workers.
    if config.getoption("numprocesses", None):
        for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
            os.environ.setdefault(name, "1")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Give a file to one worker, and to one alone all files that look at the shop's first run."""
    from xdist.scheduler import LoadFileScheduling

    class Scheduling(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file: str = super()._split_scope(nodeid)
            return "the shop" if file.endswith(SHOP) else file

    # In the order of their names: a whole run that is begun last would keep one worker alone.
    config.option.loadscopereorder = False
    return Scheduling(config, log)


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
    must_run = item.config.getoption("--fail-on-skip") and not item.get_closest_marker("may_skip")
    if report.skipped and must_run:
        report.outcome = "failed"
        report.longrepr = f"skipped where nothing may be skipped: {report.longrepr}"
    return report


def chromium() -> str | None:
    return shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of the real data sets; its README tells where each comes from."""
    return _data()


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3_bucket(s3_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A fresh bucket that boto3 finds through the environment, as a user would set it."""
    import boto3

    for name, value in S3_VARIABLES.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", s3_endpoint)
    bucket = f"bucket-{uuid.uuid4().hex[:8]}"
    boto3.client("s3").create_bucket(Bucket=bucket)
    return bucket


@pytest.fixture(scope="session")
def s3_environment(s3_endpoint: str) -> Iterator[str]:
    """The S3 endpoint as the environment names it, for programs that tests start."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in S3_VARIABLES.items():
            patch.setenv(name, value)
        patch.setenv("AWS_ENDPOINT_URL_S3", s3_endpoint)
        yield s3_endpoint
