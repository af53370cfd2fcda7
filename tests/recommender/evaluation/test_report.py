"""The page for people: complete, offline, safe, and readable on a phone."""

from __future__ import annotations

import re
import shutil
from html.parser import HTMLParser

import pytest
from evidence_builder import champion, comparison, evidence, interval

from recommender.config.evaluation import GateConfig
from recommender.evaluation import report
from recommender.evaluation.gate import judge
from recommender.evaluation.picture import draw

POLICY = GateConfig()
VOID = {"meta", "link", "line", "circle", "br"}


class Page(HTMLParser):
    """Checks that tags are closed, and gathers the text and every address."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.words: list[str] = []
        self.addresses: list[str] = []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attrs) -> None:
        self.addresses += [value for name, value in attrs if name in ("src", "href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data) -> None:
        if self.open and self.open[-1] != "style":
            self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))


def page_of(found, *, judged: bool = True) -> str:
    return report.render(found, judge(found, POLICY) if judged else None)


@pytest.mark.parametrize(
    ("found", "word"),
    [
        (evidence(), "✓ Pass"),
        (evidence(users=499), "? Insufficient data"),
        (evidence(popularity=comparison("popularity", -0.2, -0.1)), "✗ Fail"),
        (
            evidence(reigning=champion(identical="bytes"), champion=comparison("champion", 0, 0)),
            "= Nothing new",
        ),
    ],
)
def test_the_verdict_comes_first(found, word: str) -> None:
    text = Page(page_of(found)).text
    assert word in text
    decision = judge(found, POLICY)
    assert text.index(word) < text.index(decision.headline) < text.index("The candidate against")
    for rule in decision.rules:
        assert rule.reason in text


def test_before_the_gate_it_says_that_nothing_was_judged() -> None:
    text = Page(page_of(evidence(), judged=False)).text
    assert "Not judged yet" in text
    assert "What the gate asked" not in text


def test_it_tells_everything_that_a_reader_must_know() -> None:
    found = evidence(reigning=champion(saw_the_test=True, missing_items=7))
    text = Page(page_of(found)).text
    for words in (
        "d-1",  # data version
        "e-1",  # evaluation set
        "m-00000000000a",
        "m-00000000000c",
        "0123456789ab",  # configuration
        "1,000",  # users
        "4 requests without history",
        "pseudonym : took nothing in the test window",
        "that favours it",
        "doesn't know 7 of the items",
        "make run CONFIG=again.yaml",
        "seed: 7",
        "0.0040",  # detectable effect
        "NDCG@10",
        "PRECISION@5",
    ):
        assert words in text, words


def test_it_needs_nothing_but_itself_and_is_small() -> None:
    page = page_of(evidence(reigning=champion()))
    assert Page(page).addresses == ["data:,"]
    assert "http" not in page
    assert "<script" not in page
    assert "url(" not in page
    assert len(page.encode()) < 2_000_000


def test_names_from_the_data_are_not_markup() -> None:
    found = evidence().model_copy(
        update={"run_id": "<script>alert(1)</script>", "config": {"name": "<img src=x>"}}
    )
    page = page_of(found)
    assert "<script>" not in page
    assert "<img" not in page
    assert "&lt;script&gt;" in page


def test_the_picture_puts_estimates_inside_intervals_and_marks_what_is_asked() -> None:
    found = evidence(
        popularity=comparison("popularity", 0.02, 0.05),
        item_knn=comparison("item-knn", -0.08, -0.05),
        recent_popularity=comparison("recent-popularity", -0.01, 0.01),
    )
    picture = draw(found, judge(found, POLICY))
    assert [row.side for row in picture.rows] == ["better", "unsure", "worse"]
    for row in picture.rows:
        assert 0 <= row.low < row.estimate < row.high <= 100
    better, _, worse = picture.rows
    assert worse.high < picture.zero < better.low
    assert better.asked == picture.zero  # must be better
    assert worse.asked < picture.zero  # may be a little worse
    assert next(tick.at for tick in picture.ticks if tick.label == "0") == picture.zero
    positions = [tick.at for tick in picture.ticks]
    assert positions == sorted(positions)
    assert 3 <= len(positions) <= 9


def test_a_picture_of_no_differences_at_all_can_be_drawn() -> None:
    nothing = {
        name.replace("-", "_"): comparison(name, 0.0, 0.0, relative=interval(None))
        for name in ("popularity", "recent-popularity", "item-knn")
    }
    picture = draw(evidence(**nothing), None)
    assert {row.estimate for row in picture.rows} == {picture.zero}
    assert all(row.asked is None for row in picture.rows)


@pytest.mark.needs_chromium
@pytest.mark.parametrize("width", [360, 1280])
def test_it_is_readable_in_a_real_browser_at(width: int, tmp_path) -> None:
    from playwright.sync_api import sync_playwright

    path = tmp_path / "evaluation.html"
    found = evidence(reigning=champion())
    report.write(path, found, judge(found, POLICY))
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        try:
            context = browser.new_context(viewport={"width": width, "height": 800}, offline=True)
            page = context.new_page()
            complaints: list[str] = []
            page.on("console", lambda message: complaints.append(message.text))
            page.on("requestfailed", lambda request: complaints.append(request.url))
            page.goto(path.as_uri())
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            verdict = page.locator(".verdict").bounding_box()
            assert verdict["y"] + verdict["height"] < 400  # seen without scrolling
            # Words are at least 12 pixels high, whatever the width.
            smallest = page.evaluate(
                "Math.min(...[...document.querySelectorAll('body *')]"
                ".filter(e => e.textContent.trim() && e.checkVisibility())"
                ".map(e => parseFloat(getComputedStyle(e).fontSize)))"
            )
            assert smallest >= 12
            rows = page.locator(".rival svg")
            assert rows.count() == 4
            assert rows.first.bounding_box()["width"] > 0.8 * min(width, 900)
            assert complaints == []
        finally:
            browser.close()
