"""The report, at every stage of a rollout."""

from __future__ import annotations

import re
from contextlib import suppress

import pytest
from rollout_world import CANDIDATE, STABLE, Killed, MemoryTraffic, Stage, World, kill_at
from tables_by_hand import configuration

from serving.rollout.curves import draw
from serving.rollout.plan import Plan, Step
from serving.rollout.records import Arm, Record
from serving.rollout.report import render, write
from serving.rollout.state import Rollouts


@pytest.fixture
def config(tmp_path):
    return configuration(tmp_path)


@pytest.fixture
def rolled(tmp_path):
    """Roll something out in memory; return its state and records."""

    def run(misfortune=None, world=None, **behaviour):
        stage = Stage(world or World(misfortune=misfortune), tmp_path / "rollouts")
        with suppress(Killed):
            stage.start(MemoryTraffic(stage.world, **behaviour))
        state = stage.states[-1]
        return state, Rollouts(stage.folder).journal(state).read()

    return run


def lines(page):
    return re.findall(r'<polyline points="([^"]*)"', page)


def test_a_promotion_shows_every_step_and_both_arms(rolled, config, tmp_path):
    state, records = rolled(hit_rates=(0.2, 0.4))
    write(tmp_path / "canary.html", state, records, config)
    page = (tmp_path / "canary.html").read_text()
    assert "Promoted" in page
    for percent in (5, 25, 50, 100):
        assert f"<th>{percent} %</th>" in page
    assert len(lines(page)) == 6
    assert all(lines(page))
    assert STABLE in page
    assert CANDIDATE in page
    assert "nan" not in page


def test_a_roll_back_says_why(rolled, config):
    page = render(*rolled(hit_rates=(0.4, 0.0)), config)
    assert "Rolled back" in page
    assert "worse" in page
    assert "not reached" in page


def test_a_candidate_that_was_never_served_has_no_curves(rolled, config):
    state, records = rolled(world=World(broken=frozenset({CANDIDATE})))
    page = render(state, records, config)
    assert "is broken" in page
    assert lines(page) == []


def test_a_rollout_that_was_cut_off_can_be_looked_at(rolled, config):
    page = render(*rolled(misfortune=kill_at(12), hit_rates=(0.2, 0.4)), config)
    assert "stepping" in page
    assert "It has not come to an end yet." in page


def test_steps_that_were_left_out_are_named(rolled, config):
    page = render(*rolled(users=500, hit_rates=(0.2, 0.6)), config)
    assert "Left out: 5 %." in page


def test_words_of_a_candidate_are_no_markup(rolled, config):
    state, records = rolled(errors=(0.0, 0.5))
    spoilt = [
        Record(**{**vars(r), "error": r.error and "<script>alert(1)</script>"}) for r in records
    ]
    page = render(state.moved(state.phase, "<b>note</b>"), spoilt, config)
    assert "<script" not in page
    assert "&lt;b&gt;note" in page


def test_a_curve_ends_where_the_figures_do(config):
    plan = Plan((Step(50, 40, 20), Step(100, 10, 5)), (), 50)
    records = [
        Record(f"u{n}", 0, Arm(("stable", "candidate")[n % 2]), "m", 200, 10.0 + n, n % 4 == 1)
        for n in range(40)
    ]
    hits, errors, latency = draw(records, plan, config.rollout)
    assert [chart.users for chart in (hits, errors, latency)] == [40, 40, 40]
    assert [mark.label for mark in hits.steps] == ["50 %"]
    last = {curve.arm: float(curve.line.split(",")[-1]) for curve in hits.curves}
    assert last[Arm.STABLE] == 100, "nobody was hit: the bottom of the picture"
    top = next(m for m in hits.marks if m.label not in ("0",))
    scale = (100 - top.at) / float(top.label)
    assert (100 - last[Arm.CANDIDATE]) / scale == pytest.approx(50, abs=0.1)
    assert errors.curves[0].line.split()[-1] == "100.00,100.00"
    assert draw([], plan, config.rollout) == ()
