"""A language that the text encoder doesn't know is called unreported, from the data to the page."""

from __future__ import annotations

from dataclasses import replace

import pytest
from evaluation_world import config_of, dataset_of, popularity_model
from evidence_builder import evidence

from recommender.evaluation import report
from recommender.evaluation.assess import assess
from recommender.evaluation.evidence import Evidence, LanguageFacts
from recommender.features.dataset import Dataset
from recommender.features.language import Language
from recommender.split import Fold

SPOKEN = (Language("latin", 5, 5 / 6, 0.0), Language("chinese", 1, 1 / 6, 0.734))
ROWS = [(f"u{n % 9}", "abcdef"[n % 6], "buy", n) for n in range(60)]


@pytest.fixture
def dataset() -> Dataset:
    made = dataset_of(ROWS, config_of(), [Fold(20, 40, 60)])
    return replace(made, languages=SPOKEN)


def test_a_data_set_says_which_languages_its_encoder_knows(dataset, tmp_path):
    dataset.write(tmp_path / "set")
    assert Dataset.read(tmp_path / "set").languages == SPOKEN


def test_the_evaluation_and_its_page_say_what_is_not_reported(dataset, tmp_path):
    config = config_of()
    model = popularity_model(dataset, config, range(6))
    found = assess(dataset, [model], config).evidence
    assert [(each.name, each.reported) for each in found.languages] == [
        ("latin", True),
        ("chinese", False),
    ]
    found.write(tmp_path)
    page = report.render(Evidence.read(tmp_path), None)
    assert "Quality in chinese is not reported" in page
    assert "73 % of the tokens of 1 items" in page
    assert "Quality in latin" not in page


def test_where_every_language_is_known_the_page_has_nothing_to_say():
    known = LanguageFacts(name="chinese", items=9, unknown_rate=0.01, reported=True)
    page = report.render(evidence().model_copy(update={"languages": (known,)}), None)
    assert "not reported" not in page
    assert "items in chinese" in page
