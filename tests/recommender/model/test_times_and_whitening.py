import datetime

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from recommender.model.times import BUCKETS, duration_buckets, hours, weekdays
from recommender.model.whitening import whiten


@given(st.integers(0, 4_000_000_000_000))
def test_hours_and_weekdays_are_those_of_the_calendar_in_utc(moment):
    told = datetime.datetime.fromtimestamp(moment / 1000, datetime.UTC)
    asked = torch.tensor([moment])
    assert hours(asked).item() == told.hour
    assert weekdays(asked).item() == told.weekday()


@given(st.integers(-(2**40), 2**50), st.integers(0, 2**45))
def test_duration_buckets_never_fall_and_leave_bucket_zero_free(start, more):
    shorter, longer = duration_buckets(torch.tensor([start, start + more])).tolist()
    assert 1 <= shorter <= longer < BUCKETS


def test_duration_buckets_tell_minutes_hours_days_and_years_apart():
    seconds = torch.tensor([0, 60, 3_600, 86_400, 604_800, 31_536_000, 315_360_000])
    assert len(set(duration_buckets(seconds * 1000).tolist())) == len(seconds)


def test_whitened_vectors_are_decorrelated_with_at_most_unit_variance():
    random = np.random.default_rng(0)
    text = (random.normal(size=(400, 12)) @ random.normal(size=(12, 12)) + 5).astype(np.float32)
    white = whiten(text, np.ones(400, bool), 5)
    covariance = np.cov(white.T, bias=True)
    assert white.shape == (400, 5)
    np.testing.assert_allclose(covariance - np.diag(np.diag(covariance)), 0, atol=1e-5)
    assert np.diag(covariance)[0] == pytest.approx(1 / 1.01, rel=1e-4)
    assert (np.diag(covariance) <= 1).all()


def test_whitening_is_found_on_known_items_only():
    random = np.random.default_rng(0)
    text = random.normal(size=(50, 6)).astype(np.float32)
    known = np.arange(50) < 40
    changed = text.copy()
    changed[45] *= 100
    before, after = whiten(text, known, 4), whiten(changed, known, 4)
    np.testing.assert_array_equal(np.delete(before, 45, 0), np.delete(after, 45, 0))
    assert not np.array_equal(before[45], after[45])


def test_items_without_words_are_rows_of_zeros_and_no_words_at_all_give_zeros():
    text = np.random.default_rng(0).normal(size=(9, 4)).astype(np.float32)
    text[2] = 0
    assert not whiten(text, np.ones(9, bool), 8)[2].any()
    assert whiten(text, np.ones(9, bool), 8).shape == (9, 4)
    assert not whiten(np.zeros((3, 4), np.float32), np.ones(3, bool), 2).any()
    assert np.isfinite(whiten(text, np.zeros(9, bool), 3)).all()
