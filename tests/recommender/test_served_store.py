"""Files of served lists and feedback, in a folder and on S3."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from recommender.errors import StorageError
from recommender.served import SERVED
from recommender.served_store import ServedStore

DAY = 86_400_000
MONDAY = 19_675 * DAY


@pytest.fixture(params=["file", "s3"])
def location(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "file":
        return str(tmp_path / "log")
    return f"s3://{request.getfixturevalue('s3_bucket')}/log"


def rows(*told: tuple[str, int, str]) -> pa.Table:
    """(request, time, user), one item each."""
    shared: dict[str, Any] = {"version": "m-1", "lane": "live", "policy": "greedy"}
    return pa.Table.from_pylist(
        [
            shared
            | {
                "request_id": r,
                "time": t,
                "user": u,
                "position": 1,
                "item_id": "a",
                "propensity": 1.0,
            }
            for r, t, u in told
        ],
        SERVED,
    )


def requests(table: pa.Table) -> list[str]:
    return list(table["request_id"].to_pylist())


def test_rows_are_kept_by_day_and_read_in_the_order_of_time(location: str) -> None:
    store = ServedStore(location)
    assert store.read("served").num_rows == 0
    store.write("served", rows(("r2", MONDAY + DAY, "u"), ("r1", MONDAY + 5, "u")))
    store.write("served", rows(("r0", MONDAY, "v")))
    assert requests(store.read("served")) == ["r0", "r1", "r2"]
    assert requests(store.read("served", since_ms=MONDAY + 5)) == ["r1", "r2"]
    keys = [entry.key for entry in next(iter(store.stores)).list()]
    assert [key[:13] for key in keys] == ["2023-11-14/e-", "2023-11-14/e-", "2023-11-15/e-"]


def test_finished_days_become_one_file_and_lose_nothing_but_repetitions(location: str) -> None:
    store = ServedStore(location)
    for _ in range(2):
        store.write("served", rows(("r1", MONDAY, "u"), ("r2", MONDAY + 1, "u")))
    store.write("served", rows(("r3", MONDAY + DAY, "u")))
    assert store.compact("served", before="2023-11-15") == 2
    assert store.compact("served", before="2023-11-15") == 0
    assert requests(store.read("served")) == ["r1", "r2", "r3"]
    assert len(next(iter(store.stores)).list()) == 2


def test_one_persons_rows_are_removed_and_the_others_stay(location: str) -> None:
    store = ServedStore(location)
    store.write("served", rows(("r1", MONDAY, "u"), ("r2", MONDAY, "v")))
    store.write("served", rows(("r3", MONDAY, "u")))
    assert store.remove("served", lambda table: pc.equal(table["user"], "u")) == (2, 2)
    assert requests(store.read("served")) == ["r2"]
    assert store.remove("served", lambda table: pc.equal(table["user"], "u")) == (0, 0)


def test_a_file_of_something_else_is_named(tmp_path: Path) -> None:
    store = ServedStore(tmp_path)
    folder = tmp_path / "served" / "2023-11-14"
    folder.mkdir(parents=True)
    (folder / "e-1.parquet").write_bytes(b"nothing")
    with pytest.raises(StorageError, match=r"e-1\.parquet does not hold rows of served"):
        store.read("served")
