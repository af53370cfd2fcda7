"""The page with all its sections in a real browser: it fits, loads nothing and is small."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from evaluation_world import config_of, dataset_of, popularity_model

from recommender.evaluation import report
from recommender.evaluation.assess import Champion, assess
from recommender.evaluation.gate import judge
from recommender.evaluation.long_term.facts import EffectFacts, VersionFacts, VersionsFacts
from recommender.evaluation.long_term.versions import CAVEATS
from recommender.evaluation.records import Interval
from recommender.features.sequences import Exposures
from recommender.split import Fold

HOUR = 3_600_000
FOLD = Fold(900 * HOUR, 1000 * HOUR, 2000 * HOUR)
ITEMS = "abcdef"


def _versions() -> VersionsFacts:
    names = ("m-00000000000a", "m-00000000000b")
    return VersionsFacts(
        lists=1000,
        people=50,
        set_aside={"not over: what came of them may still be told": 12},
        return_days=7,
        versions=tuple(
            VersionFacts(
                version=name,
                first=start * 24 * HOUR,
                last=(start + 50) * 24 * HOUR,
                lists=500,
                people=40,
                success=0.2,
                negative=0.01,
                returned=0.4,
                fallbacks=3,
            )
            for start, name in enumerate(names)
        ),
        effects=tuple(
            EffectFacts(
                method=method,
                outcome="share of days on which people are there",
                before=names[0],
                after=names[1],
                start=0,
                effect=Interval.of(0.01, -0.02, 0.04),
                plain=0.02,
                detectable=0.04,
                people=20,
                others=30,
                crossed=4,
                shortcomings=("20 people against 30; 500 on either side are asked for",) * 2,
            )
            for method in CAVEATS
        ),
        caveats=CAVEATS,
    )


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = config_of(
        evaluation={
            "rivals": ["popularity"],
            "gate": {"must_beat": ["popularity"], "must_match": []},
            "slices": {"attributes": ["town"], "minimum_users": 10},
            "resamples": 200,
        }
    )
    rows = []
    for user in range(60):
        name = f"u{user:02d}"
        rows += [(name, ITEMS[user % 3], "buy", (400 + user) * HOUR)]
        rows += [(name, "d", "view", (1001 + user) * HOUR)]
        rows += [(name, ITEMS[3 + user % 3], "buy", (1100 + user) * HOUR)]
    dataset = dataset_of(rows, config, [FOLD], items=ITEMS)
    shown = np.where(dataset.log.actions == 1, 1, 0).astype(np.int32)
    towns = ["Ulm" if n % 2 else "Bern" for n in range(60)]
    dataset = replace(
        dataset,
        log=replace(dataset.log, exposures=Exposures(shown, np.full(len(shown), 0.25))),
        attributes=pa.table({"user": pa.array(dataset.log.users), "town": towns}),
    )
    candidate = popularity_model(dataset, config, [0, 0, 0, 3, 2, 1])
    champion = popularity_model(dataset, config, [1, 0, 0, 3, 2, 0])
    reigning = Champion("m-00000000000a", champion, FOLD.test_start, 2)
    evidence = assess(dataset, [candidate], config, champion=reigning).evidence
    assert evidence.findings is not None
    findings = evidence.findings.model_copy(update={"versions": _versions()})
    evidence = evidence.model_copy(update={"findings": findings})
    path = tmp_path_factory.mktemp("page") / "evaluation.html"
    report.write(path, evidence, judge(evidence, config.evaluation.gate))
    return path


@pytest.mark.needs_chromium
@pytest.mark.parametrize("width", [360, 1280])
def test_every_section_fits_and_nothing_is_loaded(width: int, page: Path) -> None:
    from playwright.sync_api import sync_playwright

    assert page.stat().st_size < 2_000_000
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        try:
            shown = browser.new_context(
                viewport={"width": width, "height": 800}, offline=True
            ).new_page()
            asked: list[str] = []
            complaints: list[str] = []
            shown.on("request", lambda request: asked.append(request.url))
            shown.on("console", lambda message: complaints.append(message.text))
            shown.goto(page.as_uri())
            # What is folded away must fit, too.
            shown.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
            assert shown.evaluate("document.documentElement.scrollWidth") <= width
            assert (asked, complaints) == ([page.as_uri()], [])
            titles = shown.locator("h2").all_inner_texts()
            for title in (
                "What the gate asked",
                "Every metric",
                "Behind the average",
                "What the lists are like",
                "What it would have earned",
                "Who comes back",
                "What changed when the model changed",
                "Where it comes from",
            ):
                assert title in titles
            for lines in CAVEATS.values():
                assert all(shown.get_by_text(line).is_visible() for line in lines)
        finally:
            browser.close()
