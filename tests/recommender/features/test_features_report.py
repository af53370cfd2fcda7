"""The page about features: complete, offline, safe, and readable on a phone."""

from __future__ import annotations

import json
import re
import shutil
from datetime import UTC, datetime

import numpy as np
import pytest
from feature_tables import AS_OF, KEYS, item_text, replaced, sound, user_sequence
from tables_by_hand import configuration

from recommender.features.expectations.judge import judge
from recommender.features.expectations.report import HTML, JSON, rendered, write_reports
from recommender.features.freshness import Freshness


def judged(tmp_path, tables, against=None, data_version="d-1"):
    return judge(
        tables,
        KEYS,
        AS_OF,
        configuration(tmp_path),
        data_version=data_version,
        now=datetime(2026, 1, 2, tzinfo=UTC),
        against=against,
        pseudonym=lambda user: "p" + user[-1],
    )


def page(found, published=None) -> str:
    return rendered(found, published or {}, name="shop", comparing=True)


def words(html: str) -> str:
    body = re.sub(r"<style>.*?</style>", "", html, flags=re.DOTALL)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", body))


@pytest.fixture
def compared(tmp_path):
    lengths = np.random.default_rng(1).integers(2, 40, 900)
    before = judged(tmp_path, {"user_sequence": user_sequence(lengths=lengths)}, None, "d-0")
    tables = {**sound(), "user_sequence": user_sequence(lengths=np.minimum(lengths, 9))}
    return judged(tmp_path, tables, before.profile)


def test_it_tells_the_verdict_the_views_and_what_moved(compared):
    text = words(page(compared))
    assert text.index("Failed") < text.index("What is wrong") < text.index("Every expectation")
    assert "Nothing was published." in text
    assert "drift: events" in text
    assert "features.expectations.drift.psi" in text
    assert "Compared with the features of d-0" in text
    for view in sound():
        assert view in text


def test_a_published_view_says_when_and_up_to_which_event(tmp_path):
    record = Freshness("user_sequence", AS_OF, 1_767_312_000_000, 4, 1.25, "d-1", 0)
    text = words(page(judged(tmp_path, sound()), {"user_sequence": record}))
    assert "2026-01-02 00:00:00 UTC 1970-01-01 00:00:00 UTC 1.25 s" in text
    assert "These are the first features" in text


def test_it_needs_nothing_but_itself_and_is_small(compared):
    html = page(compared)
    assert set(re.findall(r'(?:src|href)="([^"]*)"', html)) == {"data:,"}
    assert "http" not in html
    assert "<script" not in html
    assert len(html.encode()) < 500_000
    assert html.count("<svg") == html.count("</svg>") > 5


def test_names_from_the_data_are_not_markup(tmp_path):
    table = replaced(item_text(), "item_id", ["<b>1", "<b>1", "<b>1", "<b>2"])
    html = page(judged(tmp_path, {"item_text": table}))
    assert "&lt;b&gt;1" in html
    assert "<b>1" not in html


def test_bars_stay_inside_their_picture(compared):
    for left, top, width, height in re.findall(
        r'<rect x="([-\d.e]+)" y="([-\d.e]+)" width="([-\d.e]+)" height="([-\d.e]+)"',
        page(compared),
    ):
        assert -0.1 <= float(left) <= 100
        assert float(left) + float(width) <= 100.2
        assert float(top) + float(height) == pytest.approx(100, abs=0.1)


def test_the_program_s_record_is_plain_json_and_holds_the_profile(compared, tmp_path):
    path = write_reports(compared, tmp_path / "run", name="shop", comparing=True)
    assert path == tmp_path / "run" / HTML
    told = json.loads((tmp_path / "run" / JSON).read_text())
    assert told["verdict"] == "failed"
    assert told["against"]["version"] == compared.against.version
    assert told["profile"]["views"]["user_sequence"]["rows"] == 900
    assert "user 1" not in json.dumps(told)


@pytest.mark.needs_chromium
@pytest.mark.parametrize("width", [360, 1280])
def test_it_fits_a_phone_and_a_desk(compared, tmp_path, width):
    from playwright.sync_api import sync_playwright

    path = write_reports(compared, tmp_path / "run", name="shop", comparing=True)
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        try:
            tab = browser.new_page(viewport={"width": width, "height": 800})
            said = []
            tab.on("console", lambda message: said.append(message.text))
            tab.on("pageerror", lambda error: said.append(str(error)))
            tab.goto(path.as_uri())
            assert tab.evaluate("document.documentElement.scrollWidth") <= width
            assert tab.locator("figure svg").first.bounding_box()["height"] > 30
            assert said == []
        finally:
            browser.close()
