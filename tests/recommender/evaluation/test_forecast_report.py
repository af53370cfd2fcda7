"""The page says in words and in a picture whether demand can be foreseen."""

from __future__ import annotations

import re
import shutil

import pytest
from evidence_builder import comparison, evidence, interval

from recommender.evaluation import report
from recommender.evaluation.backtest_facts import BacktestFacts, GroupFacts, MethodFacts
from recommender.evaluation.evidence import Evidence
from recommender.evaluation.forecast_picture import draw


def method(name: str, relative: float | None, spread: float | None = 0.05, **more) -> MethodFacts:
    """A method whose MASE is `relative` more than the seasonal-naive one's."""
    over = None
    if relative is not None:
        ends = (None, None) if spread is None else (relative - spread, relative + spread)
        over = {name: interval(relative, *ends) for name in ("mae", "rmse", "mase")}
    errors = {name: interval(1.0, 0.9, 1.1) for name in ("mae", "rmse", "mase")}
    facts = {"replaced": 0, "over_naive": over, "over_seasonal_naive": over, "errors": errors}
    return MethodFacts(method=name, **{**facts, **more})


def backtest(*methods: MethodFacts, reason: str | None = None) -> BacktestFacts:
    groups = (GroupFacts(name="items", series=20, unscaled=3, methods=methods),) if methods else ()
    return BacktestFacts(
        period="day",
        season=7,
        horizon=7,
        confidence=0.95,
        resamples=2000,
        origins=() if reason else (1_600_000_000_000, 1_600_604_800_000),
        groups=groups,
        reason=reason,
    )


MEASURED = backtest(
    method("naive", 0.3),
    method("seasonal-naive", None),
    method("share", -0.2),
    method("sarma", -0.01, replaced=4),
)


def told(**changes) -> str:
    page = report.render(evidence().model_copy(update=changes), None)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page.partition("</style>")[2]))


def test_the_picture_puts_the_best_first_and_better_to_the_right() -> None:
    picture = draw(MEASURED)
    assert [(row.rival, row.side) for row in picture.rows] == [
        ("share", "better"),
        ("sarma", "unsure"),
        ("naive", "worse"),
    ]
    share, sarma, naive = picture.rows
    assert share.low > picture.zero > naive.high
    assert sarma.low < picture.zero < sarma.high
    assert share.said == "+20.0% (+15.0% to +25.0%)"


def test_one_series_is_drawn_without_an_interval_and_is_never_sure() -> None:
    (row,) = draw(backtest(method("ar", -0.4, spread=None))).rows
    assert (row.side, row.said) == ("unsure", "+40.0%")
    assert row.low == row.estimate == row.high


def test_methods_series_and_replacements_are_in_the_text() -> None:
    text = told(backtest=MEASURED)
    assert "Items: 20 series" in text
    assert "3 more left out" in text
    assert "4 by smoothing" in text
    assert "2 moments (2020-09-13 12:26 UTC to 2020-09-20 12:26 UTC)" in text
    assert "No rule of the gate reads any of this" in text


def test_the_reason_stands_where_there_are_no_figures() -> None:
    text = told(backtest=backtest(reason="the log holds 3 whole days"))
    assert "There is no backtest of the forecasts: the log holds 3 whole days" in text


def test_without_forecasts_the_page_is_silent_about_them() -> None:
    assert "foreseen" not in told()


@pytest.mark.parametrize(
    ("low", "estimate", "said"),
    [
        (0.01, 0.02, "forecasts helped it"),
        (-0.03, -0.02, "forecasts harmed it"),
        (-0.01, 0.005, "can't tell whether forecasts help it"),
    ],
)
def test_whether_forecasts_helped_popularity_is_said(low, estimate, said) -> None:
    found = comparison("recent-popularity", low, estimate)
    text = told(forecast_popularity=found)
    assert said.replace("'", "&#39;") in text
    assert f"a difference of {estimate:+.4f}" in text
    assert "1,000 users" in text


def test_what_was_found_survives_the_disk(tmp_path) -> None:
    found = evidence().model_copy(
        update={"backtest": MEASURED, "forecast_popularity": comparison("recent-popularity")}
    )
    found.write(tmp_path)
    assert Evidence.read(tmp_path) == found


@pytest.mark.needs_chromium
@pytest.mark.parametrize("width", [360, 1280])
def test_it_fits_a_real_browser_at(width: int, tmp_path) -> None:
    from playwright.sync_api import sync_playwright

    path = tmp_path / "evaluation.html"
    found = evidence().model_copy(
        update={"backtest": MEASURED, "forecast_popularity": comparison("recent-popularity")}
    )
    report.write(path, found, None)
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        try:
            page = browser.new_page(viewport={"width": width, "height": 800})
            page.goto(path.as_uri())
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            rows = page.locator(".forecast svg")
            assert rows.count() == 3
            assert rows.first.bounding_box()["width"] > 0.8 * min(width, 900)
        finally:
            browser.close()
