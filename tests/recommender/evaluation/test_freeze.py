"""The frozen set: by hand, against a plain restatement of the rule, and blind to the future."""

from __future__ import annotations

import numpy as np
import pytest
from evaluation_world import Row, config_of, dataset_of
from hypothesis import given, settings
from hypothesis import strategies as st

from recommender.errors import ArtifactError, EvaluationError
from recommender.evaluation.freeze import freeze
from recommender.evaluation.frozen import EvaluationSet
from recommender.files import read_json, write_json
from recommender.split import Fold

FOLD = Fold(validation_start=50, test_start=100, test_end=200)
PAST: list[Row] = [("u", "a", "buy", 10), ("u", "b", "click", 20), ("v", "c", "buy", 30)]


def requests_of(found: EvaluationSet) -> list[tuple[str, int, int, set[str]]]:
    """Return (user, time, fold, relevant items) of every request."""
    return [
        (
            found.log.users[found.users[b]],
            int(found.times[b]),
            int(found.folds[b]),
            {
                found.catalogue.ids[i]
                for i in found.relevant[found.offsets[b] : found.offsets[b + 1]]
            },
        )
        for b in range(len(found))
    ]


def frozen(
    rows: list[Row], *, exclude: bool = False, limit: int = 10, most: int = 10, folds=(FOLD,)
) -> EvaluationSet:
    config = config_of(exclude_seen=exclude)
    return freeze(dataset_of(rows, config, folds), config.actions, limit, most)


def histories_of(found: EvaluationSet) -> list[list[str]]:
    histories = found.histories(np.arange(len(found)))
    return [
        [found.catalogue.ids[i] for i in histories.items[start:stop]]
        for start, stop in zip(histories.offsets, histories.offsets[1:], strict=False)
    ]


def test_a_basket_is_one_request_and_not_in_its_own_history() -> None:
    found = frozen([*PAST, ("u", "c", "buy", 110), ("u", "d", "buy", 110), ("u", "e", "buy", 120)])
    assert requests_of(found) == [("u", 110, 0, {"c", "d"}), ("u", 120, 0, {"e"})]
    assert histories_of(found) == [["a", "b"], ["a", "b", "c", "d"]]


def test_the_window_holds_its_start_and_not_its_end() -> None:
    rows = [("u", "a", "buy", t) for t in (99, 100, 199, 200)]
    assert [time for _, time, _, _ in requests_of(frozen(rows))] == [100, 199]


def test_only_successes_are_relevant_and_only_history_types_are_history() -> None:
    rows = [
        ("u", "a", "view", 105),
        ("u", "b", "click", 110),
        ("u", "c", "buy", 120),
        ("u", "d", "click", 120),
    ]
    found = frozen(rows)
    assert requests_of(found) == [("u", 120, 0, {"c"})]
    assert histories_of(found) == [["b"]]
    assert found.counts["requests with nothing taken"] == 1


def test_cold_users_are_tested_and_counted() -> None:
    found = frozen([*PAST, ("new", "c", "buy", 110), ("u", "c", "buy", 110)])
    assert requests_of(found) == [("new", 110, 0, {"c"}), ("u", 110, 0, {"c"})]
    assert histories_of(found) == [[], ["a", "b"]]
    assert found.counts["requests without history"] == 1


def test_seen_items_are_not_relevant_where_they_are_never_recommended_again() -> None:
    rows = [*PAST, ("u", "a", "buy", 110), ("u", "d", "buy", 110), ("v", "c", "buy", 110)]
    assert requests_of(frozen(rows)) == [("u", 110, 0, {"a", "d"}), ("v", 110, 0, {"c"})]
    found = frozen(rows, exclude=True)
    assert requests_of(found) == [("u", 110, 0, {"d"})]
    assert found.unscored == {"v": "took only items already in the history"}
    assert found.counts["requests with only seen items taken"] == 1


def test_seen_means_in_the_history_as_served_and_not_longer_ago() -> None:
    rows = [*PAST, ("u", "a", "buy", 110)]
    assert requests_of(frozen(rows, exclude=True, limit=1)) == [("u", 110, 0, {"a"})]
    assert histories_of(frozen(rows, exclude=True, limit=1)) == [["b"]]


def test_an_item_clicked_and_bought_at_once_is_not_seen_yet() -> None:
    found = frozen([("u", "d", "click", 110), ("u", "d", "buy", 110)], exclude=True)
    assert requests_of(found) == [("u", 110, 0, {"d"})]


def test_users_who_took_nothing_are_named_and_counted() -> None:
    found = frozen([*PAST, ("u", "c", "buy", 110), ("w", "c", "click", 120)])
    assert found.unscored == {"w": "took nothing in the test window"}
    assert found.log.users == ("u",)


def test_at_most_the_earliest_requests_of_a_user_are_scored() -> None:
    rows = [
        ("u", "a", "click", 105),  # nothing to score: doesn't use up the limit
        *[("u", "b", "buy", t) for t in (110, 120, 130)],
        ("v", "b", "buy", 190),
    ]
    found = frozen(rows, most=2)
    assert [(user, time) for user, time, _, _ in requests_of(found)] == [
        ("u", 110),
        ("u", 120),
        ("v", 190),
    ]
    assert found.counts["requests beyond requests_per_user"] == 1


def test_items_never_taken_before_the_cut_are_counted() -> None:
    found = frozen([*PAST, ("u", "f", "buy", 110), ("u", "c", "buy", 110)])
    assert found.counts["relevant items never taken before the cut"] == 1


def test_rolling_cuts_keep_a_user_one_and_tell_the_folds_apart() -> None:
    folds = (Fold(20, 40, 100), FOLD)
    rows = [*PAST, ("u", "c", "buy", 60), ("u", "d", "buy", 110), ("v", "d", "buy", 120)]
    found = frozen(rows, folds=folds)
    assert requests_of(found) == [
        ("u", 60, 0, {"c"}),
        ("u", 110, 1, {"d"}),
        ("v", 120, 1, {"d"}),
    ]
    assert found.of_fold(1).tolist() == [1, 2]
    assert found.log.users == ("u", "v")


def test_later_events_change_neither_requests_nor_histories_before_them() -> None:
    rows = [*PAST, ("u", "c", "buy", 110), ("v", "d", "buy", 115)]
    planted = [
        ("u", "f", "buy", 150),
        ("v", "f", "click", 115),
        ("x", "f", "buy", 199),
        ("u", "f", "buy", 200),
        ("v", "f", "buy", 300),
    ]
    without, having = frozen(rows), frozen([*rows, *planted])
    early = [b for b, request in enumerate(requests_of(having)) if request[1] <= 115]
    assert [requests_of(having)[b] for b in early] == requests_of(without)
    assert [histories_of(having)[b] for b in early] == histories_of(without)


def test_the_set_holds_no_event_at_or_after_a_users_last_request() -> None:
    found = frozen(
        [*PAST, ("u", "c", "buy", 110), ("u", "d", "click", 150), ("u", "e", "buy", 500)]
    )
    assert found.log.times.max() < 110


def test_nobody_to_test_on_is_said_with_counts() -> None:
    with pytest.raises(EvaluationError, match="none of 1 users who did something") as caught:
        frozen([*PAST, ("u", "c", "click", 110)])
    assert "success" in caught.value.hint


def test_relevance_marks_the_relevant_items_of_chosen_requests() -> None:
    found = frozen([*PAST, ("u", "c", "buy", 110), ("u", "d", "buy", 110), ("v", "f", "buy", 120)])
    marks = found.relevance(np.array([1, 0]))
    assert marks.astype(int).tolist() == [[0, 0, 0, 0, 0, 1], [0, 0, 1, 1, 0, 0]]


def test_a_saved_set_is_the_same_set_and_a_changed_one_is_refused(tmp_path) -> None:
    found = frozen(
        [*PAST, ("u", "c", "buy", 110), ("w", "d", "click", 120), ("n", "a", "buy", 130)]
    )
    found.save(tmp_path / "set")
    again = EvaluationSet.load(tmp_path / "set")
    assert EvaluationSet.load(tmp_path / "set", again.data_version).version == again.version
    with pytest.raises(ArtifactError, match="not of d-another"):
        EvaluationSet.load(tmp_path / "set", "d-another")
    assert again.version == found.version
    assert requests_of(again) == requests_of(found)
    assert histories_of(again) == histories_of(found)
    assert again.unscored == found.unscored

    described = read_json(tmp_path / "set" / "evaluation_set.json")
    write_json(tmp_path / "set" / "evaluation_set.json", {**described, "history_limit": 3})
    with pytest.raises(ArtifactError, match="holds evaluation set"):
        EvaluationSet.load(tmp_path / "set")
    (tmp_path / "set" / "log.parquet").write_bytes(b"PAR1")
    with pytest.raises(ArtifactError, match="not a readable evaluation set"):
        EvaluationSet.load(tmp_path / "set")


def test_the_version_follows_the_content() -> None:
    rows = [*PAST, ("u", "c", "buy", 110)]
    assert frozen(rows).version == frozen(rows).version
    versions = {
        frozen(rows).version,
        frozen(rows, exclude=True).version,
        frozen(rows, limit=5).version,
        frozen([*rows, ("u", "d", "buy", 120)]).version,
    }
    assert len(versions) == 4


def plainly(rows: list[Row], exclude: bool, limit: int, most: int, folds) -> list[tuple]:
    """State the protocol without any cleverness; rows are in the order of their event ids."""
    requests = []
    for user in sorted({row[0] for row in rows}):
        mine = sorted((r for r in rows if r[0] == user and r[2] != "view"), key=lambda r: r[3])
        for fold, window in enumerate(folds):
            moments = sorted({r[3] for r in mine if window.test_start <= r[3] < window.test_end})
            scored = 0
            for moment in moments:
                history = [r[1] for r in mine if r[3] < moment][-limit:]
                taken = {r[1] for r in mine if r[3] == moment and r[2] == "buy"}
                relevant = taken - set(history) if exclude else taken
                if relevant and scored < most:
                    requests.append((user, moment, fold, relevant, history))
                    scored += 1
    return sorted(requests, key=lambda request: (request[0], request[1]))


@given(
    st.lists(
        st.tuples(
            st.sampled_from("uvw"),
            st.sampled_from("abcdef"),
            st.sampled_from(["view", "click", "buy"]),
            st.integers(0, 12),
        ),
        min_size=1,
        max_size=40,
    ),
    st.booleans(),
    st.integers(1, 6),
    st.integers(1, 3),
)
@settings(max_examples=150, deadline=None)
def test_it_is_what_the_protocol_says(rows, exclude, limit, most) -> None:
    folds = (Fold(1, 4, 7), Fold(5, 7, 11))
    expected = plainly(rows, exclude, limit, most, folds)
    if not expected:
        with pytest.raises(EvaluationError):
            frozen(rows, exclude=exclude, limit=limit, most=most, folds=folds)
        return
    found = frozen(rows, exclude=exclude, limit=limit, most=most, folds=folds)
    assert requests_of(found) == [request[:4] for request in expected]
    assert histories_of(found) == [request[4] for request in expected]
