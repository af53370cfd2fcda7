"""What the online store answers is what a replay of the log up to that moment gives."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tables_by_hand import ACTIONS, follow_table, tables

from feature_repo.locations import offline_folder
from feature_repo.online import OnlineFeatures
from feature_repo.store import project_name, publish
from recommender.features.build import history_log
from recommender.features.snapshots import VIEWS

ITEMS = ["a", "b", "c"]
USERS = ["u1", "u2", "ü 3", "u'4", "u10"]
LIMIT = 4

EVENT = st.tuples(
    st.sampled_from(USERS),
    st.sampled_from(ITEMS),
    st.sampled_from(ACTIONS["types"]),
    # Few moments, so that ties are the rule; before and after 1970.
    st.integers(-3, 6).map(lambda n: 1_000 * n + 457),
    st.one_of(st.none(), st.floats(-5, 5, width=32)),
)


@st.composite
def logs(draw):
    events = draw(st.lists(EVENT, min_size=1, max_size=40))
    ids = draw(st.permutations([f"e{n}" for n in range(len(events))]))
    return [(*event, name) for event, name in zip(events, ids, strict=True)]


def replayed(events, user, time):
    """What the rule says, in the plainest words; None for a user without a history."""
    seen = [e for e in events if e[0] == user and e[3] < time and e[2] in ACTIONS["history"]]
    seen.sort(key=lambda event: (event[3], event[5]))
    kept = [(e[1], e[2], e[3], None if e[4] is None else float(e[4])) for e in seen][-LIMIT:]
    return kept or None


def told(item_ids, actions, times, values):
    clean = [None if math.isnan(value) else value for value in values]
    return list(zip(item_ids, actions, times, clean, strict=True))


def by_windows(log, config, user, time):
    """What training sees of the same user at the same moment."""
    if user not in log.users:
        return None
    row = np.array([log.users.index(user)])
    seen = log.histories(row, np.array([time]), LIMIT)
    return (
        told(
            [ITEMS[item] for item in seen.items],
            [config.actions.types[action - 1] for action in seen.actions],
            seen.times.tolist(),
            seen.values.tolist(),
        )
        or None
    )


@pytest.fixture(scope="module")
def shared(make_config):
    return make_config(features={"history_limit": LIMIT, "text": {"threads": 1}})


@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(events=logs(), time=st.integers(-4, 8).map(lambda n: 1_000 * n + 457))
def test_online_store_training_and_replay_agree_on_every_field(shared, read_with_sdk, events, time):
    # One project for all examples: what an earlier one left behind must be gone.
    made = tables(events, ITEMS)
    publish(shared, made, time, "rehearsal")
    project = project_name(shared, "rehearsal")
    log = history_log(made, shared)
    wanted = {user: replayed(events, user, time) for user in USERS}

    with OnlineFeatures(shared.paths, project) as store:
        read = dict(zip(USERS, store.user_histories(USERS), strict=True))
        assert store.users() == sorted(user for user in USERS if wanted[user])
    sdk = dict(
        zip(USERS, read_with_sdk(shared, project, "user_sequence", "user_id", USERS), strict=True)
    )

    for user in USERS:
        assert by_windows(log, shared, user, time) == wanted[user]
        if wanted[user] is None:
            assert read[user] is None
            assert set(sdk[user].values()) == {None}
            continue
        ours, theirs = read[user], sdk[user]
        assert told(ours.item_ids, ours.actions, ours.times, ours.values) == wanted[user]
        assert ours.as_of_ms == theirs["as_of"] == time
        del theirs["as_of"]
        assert (
            told(*(theirs[name] for name in ("item_ids", "actions", "times", "values")))
            == (wanted[user])
        )


def test_nothing_planted_at_or_after_the_cut_changes_what_is_published(make_config, monkeypatch):
    # Two workspaces, the same pseudonyms.
    monkeypatch.setenv("OSTINATO_PSEUDONYM_KEY", "sixteen bytes ok")
    cut = 5_000
    past = [("u1", "a", "click", 1_000), ("u1", "b", "purchase", 4_999), ("u2", "c", "click", 10)]
    future = [
        ("u1", "c", "purchase", cut),
        ("u1", "c", "purchase", cut + 1),
        ("u2", "a", "click", 9_000),
        ("new", "a", "click", 9_000),
    ]
    users = {user: {} for user in ("u1", "u2", "new")}
    begun, later = [("new", "u1", 10), ("u2", "u1", None)], [("u1", "u2", cut), ("u2", "new", cut)]
    seen = []
    for events, edges in ((past, begun), (past + future, begun + later)):
        config = make_config(
            source={"kind": "synthetic", "follows": 1},
            features={"text": {"threads": 1, "behaviour": True}},
        )
        made = replace(tables(events, ITEMS, users), follows=follow_table(edges))
        publish(config, made, cut, "rehearsal")
        project = project_name(config, "rehearsal")
        folder = offline_folder(config.paths.features, project)
        # All views, those that a configuration has to ask for included.
        offline = [pq.read_table(folder / f"{view}.parquet").drop("created") for view in VIEWS]
        with OnlineFeatures(config.paths, project) as store:
            online = [repr(each) for each in store.user_histories(["u1", "u2", "new"])]
        seen.append(([table.to_pylist() for table in offline], online))
    assert repr(seen[0]) == repr(seen[1])
    assert "purchase" in seen[0][1][0]
