from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest
from quality_tables import NOW, Row, of_rows, settings, shop, spoiled

from recommender.quality.accepted import Accepted
from recommender.quality.report import described, write_reports
from recommender.quality.statistics import Statistics
from recommender.quality.validation import Validation, validate
from recommender.tables import Tables

ATTACK = "<img src=x onerror=alert(1)>$5 ${kwargs} & �"
LOADING = {("img", "src"), ("script", "src"), ("link", "href"), ("iframe", "src")}


@dataclass(frozen=True)
class Run:
    validation: Validation
    page: str
    quality: Row
    docs: Path


def run(folder: Path, tables: Tables, *, compare: bool = True) -> Run:
    (folder / "data").mkdir(parents=True)
    tables.write(folder / "data")
    imputation = {"events": {"value": "median", "time": "interpolate"}}
    config = settings(quality={"imputation": imputation, "drift": {"compare": compare}})
    validation = validate(
        folder / "data",
        config,
        data_version="d-now",
        now=NOW,
        against=Accepted("d-before", "2024-12-01", Statistics.of(shop(), config.actions)),
        pseudonym=lambda user: f"p{user}",
        docs=folder / "docs",
    )
    page = write_reports(validation, folder, comparing=compare)
    quality = json.loads((folder / "quality.json").read_text())
    return Run(validation, page.read_text(), quality, folder / "docs")


@pytest.fixture(scope="module")
def failed(tmp_path_factory: pytest.TempPathFactory) -> Run:
    def spoil(events: list[Row], items: list[Row], users: list[Row]) -> None:
        for row in events[100:160]:
            row["item_id"] = ATTACK
        for row in events[200:203]:
            row["time"] = None
        events[0]["user_id"] = None
        events[1]["event"] = ATTACK
        items[0]["title"] = ATTACK

    return run(tmp_path_factory.mktemp("failed"), spoiled(shop(), spoil))


@pytest.fixture(scope="module")
def passed(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return run(tmp_path_factory.mktemp("passed"), shop(), compare=False)


class Tags(HTMLParser):
    """Collects (tag, attribute, value) of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, str, str]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [(tag, name, value or "") for name, value in attrs]


def loaded(text: str) -> Iterator[str]:
    """Addresses that a browser fetches by itself."""
    for tag, name, value in Tags(text).found:
        if (tag, name) in LOADING:
            yield value
    yield from re.findall(r"@import\s+[^;]+|url\(['\"]?([^'\")]+)", text)


def test_the_page_begins_with_the_verdict_and_what_is_wrong(failed: Run, passed: Run) -> None:
    assert failed.page.index("Failed") < failed.page.index("What is wrong")
    assert failed.page.index("What is wrong") < failed.page.index("Every expectation")
    assert "Nothing was accepted" in failed.page
    assert "60 of 600 rows break it (10%)" in failed.page
    assert "What is wrong" not in passed.page
    assert "Passed" in passed.page


def test_the_page_shows_every_expectation_and_all_that_was_done(failed: Run) -> None:
    for finding in failed.validation.findings:
        assert failed.page.count(finding.name.replace("'", "&#39;")) >= 1
    assert "60 unknown item" in failed.page
    assert '3</td><td class="n">3</td>' in failed.page  # three missing times, all interpolated
    assert "evenly between the neighbours" in failed.page
    assert "Compared with d-before" in failed.page


def test_the_page_says_why_there_is_no_comparison(passed: Run) -> None:
    assert "switched off" in passed.page


def test_text_from_the_data_cannot_become_markup(failed: Run) -> None:
    pages = [failed.page, *(page.read_text() for page in failed.docs.rglob("*.html"))]

    assert ATTACK not in "".join(pages)
    assert not [tag for page in pages for tag in Tags(page).found if tag[1] == "onerror"]
    assert "&lt;img src=x onerror=alert(1)&gt;" in failed.page
    assert any("‹img src=x onerror=alert(1)›＄5" in page for page in pages[1:])


def test_the_page_needs_nothing_else(failed: Run) -> None:
    assert list(loaded(failed.page)) == []
    assert '<meta name="viewport"' in failed.page


def test_the_data_docs_load_nothing_from_another_host_and_every_link_leads_somewhere(
    failed: Run,
) -> None:
    pages = sorted(failed.docs.rglob("*.html"))

    assert len(pages) == 1 + 2 * 5
    for page in pages:
        text = page.read_text()
        for address in loaded(text):
            assert not address.startswith(("http:", "https:", "//")), page
            if not address.startswith("data:") and address.endswith((".png", ".ico")):
                assert (page.parent / address).exists(), address
        for tag, name, value in Tags(text).found:
            if (tag, name) == ("a", "href") and not value.startswith(("#", "http")):
                assert (page.parent / unquote(value)).exists(), (page, value)


def test_the_data_docs_say_what_is_meant_and_how_severe_it_is(failed: Run) -> None:
    index = (failed.docs / "index.html").read_text()
    events = next(failed.docs.glob("validations/events/**/*.html")).read_text()
    suite = (failed.docs / "expectations" / "events.html").read_text()

    assert index.count("some are broken") == 3  # events, items and, by drift, log
    assert "events: the item is in the catalogue: all but 5% of the rows (critical)" in events
    assert "the row is removed: nothing describes the item" in suite


def test_quality_json_holds_what_programs_need(failed: Run, passed: Run) -> None:
    quality = failed.quality

    assert quality["verdict"] == "failed"
    assert quality["data_version"] == "d-now"
    assert quality["counts"]["critical"] == 1
    assert quality["counts"]["expectations"] == len(quality["expectations"])
    assert quality["rows_in"] == {"events": 600, "items": 30, "users": 40}
    assert quality["rows_out"]["events"] == 538
    assert quality["removed"]["events"] == {
        "no user": 1,
        "unknown event type": 1,
        "unknown item": 60,
    }
    time = next(r for r in quality["imputed"] if r["column"] == "time")
    assert (time["missing"], time["filled"], time["dropped"], time["left"]) == (3, 3, 0, 0)
    assert quality["fitted_before"].startswith("2024-01-")
    assert quality["against"]["data_version"] == "d-before"
    assert quality["drift"]["events_kept"] == pytest.approx(538 / 600)
    assert passed.quality["verdict"] == "passed"
    assert passed.quality["against"] is None


def test_wrong_types_are_reported_without_rows(tmp_path: Path) -> None:
    tables = of_rows([], [], [])
    events = tables.events.drop_columns(["value"])

    bad = run(tmp_path / "bad", Tables(events, tables.items, tables.users))

    assert "no row was read" in bad.page
    assert bad.quality["rows_in"] == {}
    assert described(bad.validation)["statistics"] is None
    assert (bad.docs / "index.html").exists()
