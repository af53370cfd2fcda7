"""Holm's correction, by hand, by its promise, and as statsmodels has it."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
from statsmodels.stats.multitest import multipletests

from recommender.evaluation.multiplicity import holm, paired_p, paired_ps


def test_by_hand() -> None:
    assert holm(np.array([0.01, 0.04, 0.03])) == pytest.approx([0.03, 0.06, 0.06])


@pytest.mark.parametrize("seed", range(20))
def test_as_statsmodels_has_it(seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = np.round(rng.random(1 + seed) ** 3, 2)  # some of them equal
    theirs = multipletests(values, method="holm")[1]
    assert holm(values) == pytest.approx(theirs)


def test_what_was_not_tested_counts_for_nothing() -> None:
    found = holm(np.array([0.01, np.nan, 0.04]))
    assert found[[0, 2]] == pytest.approx([0.02, 0.04])
    assert math.isnan(found[1])


def test_p_values_are_those_of_scipy() -> None:
    rng = np.random.default_rng(0)
    ours, theirs = rng.normal(0.1, 1, 200), rng.normal(0, 1, 200)
    assert paired_p(ours - theirs) == pytest.approx(scipy.stats.ttest_rel(ours, theirs).pvalue)
    assert math.isnan(paired_p(np.array([1.0])))
    assert paired_p(np.zeros(5)) == 1.0
    assert paired_p(np.ones(5)) == 0.0


def test_many_metrics_are_tested_each_by_itself() -> None:
    values = np.random.default_rng(3).normal(0.1, 1, (50, 3))
    assert paired_ps(values) == pytest.approx([paired_p(column) for column in values.T])


def test_twenty_slices_of_nothing_raise_a_false_alarm_in_at_most_one_run_of_twenty() -> None:
    rng = np.random.default_rng(1)
    runs = [
        holm(np.array([paired_p(rng.standard_t(4, 60)) for _ in range(20)])).min() < 0.05
        for _ in range(300)
    ]
    assert np.mean(runs) <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 300)
