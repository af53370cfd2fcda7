"""Time is cut for everybody at the same moments: train < validation < test."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from recommender.config.split import SplitConfig
from recommender.errors import TrainingError
from recommender.split import Fold, cut

hundred = np.arange(100, dtype=np.int64) * 10


def test_one_cut_leaves_the_configured_shares_on_each_side():
    (fold,) = cut(hundred, SplitConfig(validation_share=0.2, test_share=0.1))
    assert (hundred < fold.validation_start).sum() == 70
    assert ((hundred >= fold.validation_start) & (hundred < fold.test_start)).sum() == 20
    assert ((hundred >= fold.test_start) & (hundred < fold.test_end)).sum() == 10


def test_the_order_of_the_events_does_not_matter():
    shuffled = np.random.default_rng(1).permutation(hundred)
    assert cut(shuffled, SplitConfig()) == cut(hundred, SplitConfig())


def test_the_last_event_is_inside_the_last_window():
    assert cut(hundred, SplitConfig())[-1].test_end == 991


def test_rolling_windows_follow_each_other_without_gap_or_overlap():
    folds = cut(hundred, SplitConfig(folds=4, first_test_start_share=0.6, test_share=0.1))
    assert [fold.test_start for fold in folds] == [600, 700, 800, 900]
    assert [fold.test_end for fold in folds] == [700, 800, 900, 991]


def test_rolling_cuts_never_validate_on_what_they_test():
    for fold in cut(hundred, SplitConfig(folds=5)):
        assert fold.validation_start < fold.test_start < fold.test_end


def test_the_last_rolling_fold_is_the_candidate_that_a_single_cut_would_give():
    single = cut(hundred, SplitConfig())[-1]
    assert cut(hundred, SplitConfig(folds=3))[-1] == single


@given(
    st.lists(st.integers(0, 10**6), min_size=2, max_size=200),
    st.integers(1, 5),
    st.floats(0.05, 0.3),
    st.floats(0.05, 0.3),
)
def test_every_cut_that_is_made_is_in_order_and_inside_the_log(times, folds, validation, test):
    log = np.array(times, np.int64)
    config = SplitConfig(folds=folds, validation_share=validation, test_share=test)
    try:
        made = cut(log, config)
    except TrainingError:
        # Only a log that is too short or too lumpy may be refused.
        assume(len(set(times)) >= 100 and folds == 1)
        raise
    assert len(made) == folds
    for fold in made:
        assert log.min() < fold.validation_start < fold.test_start < fold.test_end
    assert made[-1].test_end == log.max() + 1
    for earlier, later in itertools.pairwise(made):
        assert earlier.test_end == later.test_start


def test_explicit_moments_are_taken_to_the_millisecond():
    config = SplitConfig(
        validation_start=datetime(1970, 1, 1, 0, 0, 0, 500_000, tzinfo=UTC),
        test_start=datetime(1970, 1, 1, 0, 0, 0, 801_000, tzinfo=UTC),
    )
    assert cut(hundred, config) == (Fold(500, 801, 991),)


def test_explicit_moments_outside_the_log_are_refused_with_the_fold():
    config = SplitConfig(
        validation_start=datetime(2020, 1, 1, tzinfo=UTC),
        test_start=datetime(2021, 1, 1, tzinfo=UTC),
    )
    with pytest.raises(TrainingError, match="test_start=1609459200000"):
        cut(hundred, config)


@pytest.mark.parametrize("times", [[], [5], [5, 5, 5]])
def test_a_log_at_one_single_time_has_no_past_and_no_future(times):
    with pytest.raises(TrainingError, match=f"{len(times)} events at one single time"):
        cut(np.array(times, np.int64), SplitConfig())
