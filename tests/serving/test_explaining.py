"""Reasons of models that the endpoint of the other tests does not serve."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tables_by_hand import configuration
from taste_shop import HISTORY, ITEMS, NOW, model

from recommender.artifact import Model
from recommender.baselines.popularity import Popularity
from recommender.ensemble import UNIFIED, Ensemble, Member
from serving.ask import Ask, Events, Fallback
from serving.explaining import reasons
from serving.ranking import Found, Ranker

ASK = Ask(user_id="ann", k=4, time=NOW + 1)


def told(served: Model, found: Found) -> list[dict]:
    ranker = Ranker(served)
    (answer,) = ranker.answer([ASK], [found])
    why = reasons(ranker, ASK, found, answer)
    assert [each["score"] for each in why] == pytest.approx(answer.scores, abs=1e-4)
    for each in why:
        known = sum(each["parts"].values())
        assert known == pytest.approx(each["score"] - each["floor"], abs=1e-3)
    return why


def of_ann() -> Found:
    items, actions, times = zip(*HISTORY, strict=True)
    return Found(Events(items, actions, times, [float("nan")] * len(items)))


def test_people_whom_the_model_answers_without_a_history_are_told_what_it_reads(tmp_path):
    itself = replace(model(configuration(tmp_path)), cold=None)
    for each in told(itself, Found(fallback=Fallback.UNKNOWN_USER)):
        assert (each["because"], each["base"]) == ([], pytest.approx(each["score"], abs=1e-4))
        parts = each["parts"]
        assert max(abs(parts[name]) for name in ("action", "time", "order")) < 1e-6
        assert abs(parts["popularity"]) > 1e-3
        assert abs(parts["item_id"]) > 1e-3


def test_an_ensemble_is_served_with_the_parts_of_its_members(tmp_path):
    alone = model(configuration(tmp_path))
    popular = Popularity(alone.scorer.catalogue, np.arange(len(ITEMS), 0, -1, dtype=np.float32))
    members = [Member(UNIFIED, alone.scorer, 1.0, 8), Member("popularity", popular, 1.0, 1)]
    fused = Ensemble(members, 60.0, alone.actions.exclude_seen)
    why = told(replace(alone, scorer=fused), of_ann())
    read = told(alone, of_ann())[0]["parts"]
    for each in why:
        assert list(each["parts"]) == [*read, "member:popularity"]
        weights = sum(event["weight"] for event in each["because"])
        assert weights == pytest.approx(each["score"] - each["base"], abs=1e-9)
        assert len(each["because"]) == len(HISTORY)
