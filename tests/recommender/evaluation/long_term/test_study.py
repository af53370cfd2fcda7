"""The study: both policies, every estimator against the truth, and the page that shows it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from recommender.evaluation.long_term.page import FIGURES, render, write
from recommender.evaluation.long_term.study import SAME, VARIED, Study, study
from recommender.files import read_json


@pytest.fixture(scope="module")
def done() -> Study:
    return study(people=2500, days=84)


def test_variety_pays_in_the_long_run(done: Study) -> None:
    paths = {path.name: path for path in done.policies}
    assert paths[VARIED].satisfaction[-1] > paths[SAME].satisfaction[-1] + 0.03
    assert paths[VARIED].visits[-1] > paths[SAME].visits[-1]
    assert paths[VARIED].retention[-1] > paths[SAME].retention[-1]
    assert sum(paths[VARIED].dislike_rate) < sum(paths[SAME].dislike_rate)
    assert all(len(path.click_rate) == 12 for path in done.policies)


def test_estimators_come_near_the_truth(done: Study) -> None:
    for seen in done.seen:
        width = seen.estimate.high - seen.estimate.low
        assert seen.estimate.low - width / 2 <= seen.truth <= seen.estimate.high + width / 2, seen


def test_a_model_that_feeds_on_itself_narrows_and_exploration_keeps_it_open(done: Study) -> None:
    closed, open_ = done.loops.values()
    assert closed[0].coverage == open_[0].coverage == 1.0
    assert closed[-1].coverage < 0.2
    assert open_[-1].coverage > 0.8
    assert closed[-1].click_rate > closed[0].click_rate  # and nobody would notice


def test_the_same_seed_gives_the_same_study() -> None:
    assert study(people=600, days=42) == study(people=600, days=42)


def test_the_page_and_the_figures_are_written(done: Study, tmp_path: Path) -> None:
    page = write(tmp_path, done)
    assert Study.model_validate(read_json(tmp_path / FIGURES)) == done
    text = page.read_text(encoding="utf-8")
    assert "http" not in text.replace("http-equiv", "")
    assert page.stat().st_size < 200_000


@pytest.mark.needs_chromium
@pytest.mark.skipif(not shutil.which("chromium"), reason="no chromium program on this machine")
@pytest.mark.parametrize("width", [360, 1280])
def test_it_fits_a_phone_and_a_desk(done: Study, width: int, tmp_path: Path) -> None:
    from playwright.sync_api import sync_playwright

    path = tmp_path / "page.html"
    path.write_text(render(done), encoding="utf-8")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        page = browser.new_page(viewport={"width": width, "height": 800})
        problems: list[str] = []
        page.on("console", lambda message: problems.append(message.text))
        page.goto(path.as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.locator("svg").count() == 10
        assert problems == []
        browser.close()
