"""Forgetting somebody in a follow graph: edges go at both ends, and so does what others know."""

from __future__ import annotations

import json

import forget_world
import pyarrow.parquet as pq
import pytest
from forget_world import RESULTS, SYNTHETIC, World, brute_force

from feature_repo.locations import offline_folder, online_db, project_name
from feature_repo.stores.sqlite import SqliteStore
from pipelines.forget.work import forget
from recommender.features.build import build_dataset
from recommender.features.dataset import Dataset
from recommender.features.snapshots import up_to_now
from recommender.features.user_social import user_social
from recommender.privacy import pseudonyms
from recommender.sources.versions import ingest
from recommender.tables import Tables

USER = "u00003"


@pytest.fixture
def world(tmp_path) -> World:
    return forget_world.build(tmp_path / "w", {**SYNTHETIC, "follows": 4})


def edges(tables: Tables) -> list[tuple[str, str]]:
    rows = tables.follows.to_pylist()
    return [(row["user_id"], row["followed_user_id"]) for row in rows]


def social(world: World, lane: str = "live") -> dict[str, dict]:
    store = SqliteStore(online_db(world.config.paths), project_name(world.config, lane))
    ids = list(store.ids("user_social"))
    rows = store.rows("user_social", "user_id", ids)
    store.close()
    return {user: json.loads(row["followed"]) for user, row in zip(ids, rows, strict=True)}


def test_edges_go_at_both_ends_and_nobody_else_s_do(world: World) -> None:
    pseudonym = world.pseudonym(USER)
    before = edges(world.tables)
    theirs = [edge for edge in before if USER in edge]
    assert {edge[0] == USER for edge in theirs} == {True, False}, "follows, and is followed"
    rows = social(world)
    followers = {user for user, row in rows.items() if pseudonym in row["users"]}
    assert followers
    assert USER in rows

    told = forget(world.config, USER)

    assert told.proved
    assert brute_force(world.root, USER, pseudonym) == []
    # The online store and the snapshots: their own row, and those that speak of them; no other.
    left = {user: row for user, row in rows.items() if user not in followers and user != USER}
    for lane in ("live", "rehearsal"):
        assert social(world, lane) == left
        place = offline_folder(world.config.paths.features, project_name(world.config, lane))
        assert set(pq.read_table(place / "user_social.parquet")["user_id"].to_pylist()) == set(left)
    # Of a follower only that row goes.
    kept = SqliteStore(online_db(world.config.paths), project_name(world.config, "live"))
    known = kept.rows("user_profile", "user_id", sorted(followers))
    assert all(row is not None for row in known)
    kept.close()
    # The canonical tables, the copies of the steps, the training data.
    (folder,) = (world.root / "data" / "versions").iterdir()
    expected = [edge for edge in before if USER not in edge]
    for place in (folder, world.root / RESULTS / "ingest" / "data"):
        assert edges(Tables.read(place)) == expected
    assert edges(Tables.read(world.root / RESULTS / "validate" / "clean")) == expected
    data = Dataset.read(world.root / RESULTS / "materialize" / "dataset")
    names = pseudonyms(world.config.paths.keys)
    ends = (data.follows[name].to_pylist() for name in ("user", "followed_user"))
    in_log = {names.of(user) for user in world.tables.events["user_id"].to_pylist()}
    hidden = [names.of_all(edge) for edge in expected]
    assert list(zip(*ends, strict=True)) == [tuple(e) for e in hidden if set(e) <= in_log]


def test_the_next_version_training_set_and_publication_are_without_them(world: World) -> None:
    pseudonym = world.pseudonym(USER)
    forget(world.config, USER)
    (folder,) = (world.root / "data" / "versions").iterdir()
    again = ingest(world.config)
    assert again.name == folder.name, "what an ingest makes that leaves them out, to the name"
    tables = Tables.read(again.folder)
    assert not any(USER in edge for edge in edges(tables))
    (dropped,) = (each for each in again.report.dropped if each.table == "follows")
    assert dropped.count == len([e for e in edges(world.tables) if USER in e])
    text = forget_world.vectors(tables)
    names = pseudonyms(world.config.paths.keys)
    built = build_dataset(tables, world.config, text, names, again.name)
    assert pseudonym not in built.follows["user"].to_pylist()
    assert pseudonym not in built.follows["followed_user"].to_pylist()
    view = user_social(tables, world.config, up_to_now(tables))
    assert pseudonym not in "".join(view["followed"].to_pylist())
    assert view.num_rows > len(social(world)), "their followers are answered again, by others"
