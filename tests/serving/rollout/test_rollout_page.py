"""The page of live rollouts and shadows, in a real browser at a phone's and a desk's width."""

from __future__ import annotations

import shutil

import pytest
from rollout_world import Stage, World
from tables_by_hand import configuration
from test_soaks_and_intents import LIVE, SHADOW, People, ShadowTarget, Turned, roll

from serving.rollout.pictures import charts, traffic_steps
from serving.rollout.report import render
from serving.rollout.state import Phase, Rollouts


@pytest.fixture(scope="module")
def rolled(tmp_path_factory):
    """A shadow, then live traffic, to a promotion; its page, its state, its records."""
    folder = tmp_path_factory.mktemp("page")
    stage = Stage(World(), folder / "rollouts")
    people = People(stage.world, hit_rates=(0.3, 0.35), errors=(0.002, 0.002))
    target = ShadowTarget(stage.world)
    state = roll(stage, Turned(), people, target, shadow=SHADOW, **LIVE)
    assert state.phase is Phase.PROMOTED, state.reason
    samples = tuple((float(n), 300.0, 310.0 + n / 10) for n in range(30))
    state = type(state).from_dict(state.to_dict() | {"memory": samples})
    rollouts = Rollouts(stage.folder)
    config = configuration(
        folder, rollout={"traffic": "live", "soak_s": [600, 1800], "steps": [25, 50, 100]}
    )
    return config, state, rollouts.journal(state).read(), rollouts.comparisons(state).read()


@pytest.fixture(scope="module")
def page(rolled):
    config, state, records, compared = rolled
    return render(state, records, config, compared)


def test_it_shows_the_traffic_both_arms_the_shadow_and_the_memory(rolled, page):
    for heading in ("Traffic", "Shadow", "Step by step", "What decided", "Timeline"):
        assert f"<h2>{heading}</h2>" in page
    titles = [chart.title for chart in charts(rolled[1], rolled[2], rolled[0].rollout, rolled[3])]
    assert titles == [
        "Shadow: overlap with the champion's items",
        "Shadow: latency, 95th percentile",
        "Hit rate",
        "Failed requests",
        "Latency, 95th percentile",
        "Memory",
    ]
    assert page.count("<polyline") == 11
    assert "nan" not in page
    assert "inf," not in page


def test_the_shares_cover_the_whole_time(rolled):
    shares = traffic_steps(rolled[1])
    assert sum(share.width for share in shares) == pytest.approx(100, abs=0.1)
    assert [s.label for s in shares if s.label not in ("0 %",)][:4] == [
        *("shadow", "25 %", "50 %", "100 %")
    ]


@pytest.mark.needs_chromium
@pytest.mark.skipif(not shutil.which("chromium"), reason="no chromium program on this machine")
@pytest.mark.slow
def test_it_fits_a_phone_and_a_desk_and_everything_on_it_can_be_seen(page, tmp_path):
    from playwright.sync_api import sync_playwright

    path = tmp_path / "page.html"
    path.write_text(page, encoding="utf-8")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        problems: list[str] = []
        for width in (360, 1280):
            view = browser.new_page(viewport={"width": width, "height": 800})
            view.on("console", lambda message: problems.append(message.text))
            view.goto(path.as_uri())
            assert view.evaluate("document.documentElement.scrollWidth") <= width
            headings = view.locator("h2, .chart svg, .traffic, .verdict")
            for number in range(headings.count()):
                box = headings.nth(number).bounding_box()
                assert box is not None
                assert box["width"] > 0 < box["height"]
                assert box["x"] >= 0
                assert box["x"] + box["width"] <= width
            assert problems == []
            view.screenshot(path=tmp_path / f"{width}.png", full_page=True)
        browser.close()
