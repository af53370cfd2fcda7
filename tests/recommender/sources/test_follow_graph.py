"""A follow graph on its way in: mapped, generated, versioned; without one nothing is otherwise."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from recommender.config import Config
from recommender.config.source import SyntheticSource
from recommender.errors import SourceError
from recommender.files import read_json
from recommender.forgetting.suppression import Suppressions
from recommender.sources.content import data_version
from recommender.sources.read import read
from recommender.sources.synthetic import generate, generate_with_truth
from recommender.sources.versions import hand_over, ingest, intact
from recommender.tables import FOLLOWS, Tables, relaxed

Shop = Callable[..., Config]
EDGES = (
    "who,whom,day\nu1,u2,2024-01-01\nu1,u1,\n,u2,2024-01-02\nnew,u1,not a day\nu2,u1,2023-05-05\n"
)
COLUMNS = {"user": "who", "followed": "whom", "since": "day"}


@pytest.fixture
def followed(shop: Shop, tmp_path: Path) -> Callable[..., Config]:
    """Map edges beside the small shop; `columns` takes the place of what is mapped."""

    def make(edges: str = EDGES, columns: dict[str, Any] = COLUMNS) -> Config:
        config = shop()
        (tmp_path / "raw" / "edges.csv").write_text(edges)
        tree = config.source.model_dump(mode="json")
        tree["follows"] = {"location": str(tmp_path / "raw" / "edges.csv"), **columns}
        kind = type(config.source)
        return config.model_copy(update={"source": kind.model_validate(tree)})

    return make


def test_edges_are_read_as_they_are_for_validation_to_judge(followed: Shop) -> None:
    tables, report = read(followed())
    assert tables.follows.schema.equals(relaxed(FOLLOWS))
    rows = [tuple(row.values()) for row in tables.follows.to_pylist()]
    assert [row[:2] for row in rows] == [
        ("u1", "u2"),
        ("u1", "u1"),
        (None, "u2"),
        ("new", "u1"),
        ("u2", "u1"),
    ]
    assert [row[2] and row[2].isoformat()[:10] for row in rows] == [
        "2024-01-01",
        None,
        "2024-01-02",
        None,
        "2023-05-05",
    ]
    assert report.rows_read["follows"] == report.rows_kept["follows"] == 5
    (cell,) = report.unreadable
    # Who it is, is shown to nobody.
    assert (cell.column, cell.example) == ("day", "edges.csv row 4: day = 'not a day'")


def test_edges_without_moments_are_read_without(followed: Shop) -> None:
    tables, _ = read(followed(columns={"user": "who", "followed": "whom"}))
    assert tables.follows["since"].null_count == tables.follows.num_rows == 5


def test_a_column_that_is_not_there_is_named_before_anything_is_read(followed: Shop) -> None:
    with pytest.raises(SourceError, match=r"lacks the column 'whon' that source.follows maps"):
        read(followed(columns={"user": "who", "followed": "whon"}))


def test_a_version_holds_the_edges_and_is_another_when_they_change(
    followed: Shop, shop: Shop, tmp_path: Path
) -> None:
    version = ingest(followed())
    assert intact(version.folder)
    manifest = read_json(version.folder / "manifest.json")
    assert manifest["tables"]["follows"]["rows"] == 5
    assert manifest["report"]["rows_kept"]["follows"] == 5
    hand_over(version, tmp_path / "artifact")
    handed = Tables.read(tmp_path / "artifact")
    assert handed.follows.equals(Tables.read(version.folder).follows)
    assert handed.names == ("events", "items", "users", "follows")
    assert ingest(followed()).unchanged
    assert ingest(followed(EDGES + "u2,new,2024-01-01\n")).name != version.name
    assert ingest(shop()).name != version.name
    pq.write_table(handed.follows.slice(1), version.folder / "follows.parquet")
    assert not intact(version.folder)


def test_without_a_graph_there_is_no_table_and_the_version_is_what_it_was(shop: Shop) -> None:
    version = ingest(shop())
    files = sorted(path.name for path in version.folder.iterdir())
    assert files == ["events.parquet", "items.parquet", "manifest.json", "users.parquet"]
    assert set(read_json(version.folder / "manifest.json")["tables"]) == {
        "events",
        "items",
        "users",
    }
    tables = Tables.read(version.folder)
    assert tables.follows is None
    assert data_version(tables) == version.name


def test_whoever_asked_to_be_forgotten_is_at_neither_end(followed: Shop) -> None:
    config = followed()
    Suppressions(config.paths).add("u2")
    tables, report = read(config)
    left = [tuple(row.values())[:2] for row in tables.follows.to_pylist()]
    assert left == [("u1", "u1"), ("new", "u1")]
    assert {d.table: d.count for d in report.dropped} == {"events": 1, "users": 1, "follows": 3}
    assert report.rows_kept["follows"] == 2


SMALL = SyntheticSource(users=60, items=20, days=8, sessions_per_user=2)


def test_the_generated_graph_leaves_the_shop_as_it_is() -> None:
    plain = generate(SMALL, 7)
    source = SMALL.model_copy(update={"follows": 4.0})
    tables = generate(source, 7)
    assert plain.follows is None
    assert all(getattr(tables, name).equals(getattr(plain, name)) for name in plain.names)
    assert tables.follows.schema.equals(FOLLOWS)
    assert tables.follows.equals(generate(source, 7).follows)
    assert not tables.follows.equals(generate(source, 8).follows)


def test_generated_people_follow_those_of_their_taste() -> None:
    tables, truth = generate_with_truth(SMALL.model_copy(update={"follows": 4.0}), 7)
    ids = tables.users["user_id"].to_pylist()
    edges = [
        (ids.index(row["user_id"]), ids.index(row["followed_user_id"]))
        for row in tables.follows.to_pylist()
    ]
    assert 3 < len(edges) / len(ids) < 5
    assert len(set(edges)) == len(edges)
    assert not any(user == other for user, other in edges)
    unit = truth.taste / np.linalg.norm(truth.taste, axis=1, keepdims=True)
    likeness = unit @ unit.T
    assert np.mean([likeness[edge] for edge in edges]) > likeness.mean() + 0.2
