"""What text gives by itself on MovieLens latest-small: behaviour told in a sentence, and others.

    make bench PYTEST_ARGS="-k text_rivals"

Five rolling cuts of the global time split, the full catalogue ranked, films already rated left out;
the bundled encoder, one thread. Minutes, most of them spent on encoding a sentence per request.
"""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from movielens_small import movielens_small

from recommender.baselines.rivals import fit
from recommender.evaluation.assess import assess
from recommender.features.build import build_dataset, catalogue_order
from recommender.features.text import encode_items
from recommender.privacy import Pseudonyms

RIVALS = ["history-text", "popularity", "recent-popularity", "item-knn"]


@pytest.mark.benchmark
@pytest.mark.needs_data
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("events", [5, 20])
def test_text_rivals_on_movielens_small(
    shared_data: Path, tmp_path_factory: pytest.TempPathFactory, events: int
) -> None:
    cache = tmp_path_factory.getbasetemp() / "text-rivals"
    given = {
        "features.text.threads": 1,
        "features.text.behaviour_events": events,
        "evaluation.rivals": RIVALS,
        "evaluation.backtest": None,
    }
    config, tables = movielens_small(shared_data, cache, given)
    text = encode_items(catalogue_order(tables.items), config.features.text, cache / "cache")
    dataset = build_dataset(tables, config, text, Pseudonyms(b"sixteen bytes ok"), "v")
    start, cpu = time.perf_counter(), time.process_time()
    models = [fit("behaviour-text", dataset, fold, config) for fold in dataset.folds]
    found = assess(dataset, models, config).evidence
    print(
        f"\n\n{events} events told; {found.evaluation_set.users} users, "
        f"{found.evaluation_set.requests} requests, {found.evaluation_set.items:,} films; "
        f"{time.perf_counter() - start:.0f} s, {time.process_time() - cpu:.0f} s of CPU\n"
    )
    print("| ranking | NDCG@10 | HR@10 | behaviour-text minus it |\n|---|---|---|---|")
    for system in found.systems:
        duel = found.comparison(system.name)
        difference = duel.difference["ndcg@10"] if duel else None
        print(
            f"| {'behaviour-text' if system.name == 'candidate' else system.name} | "
            f"{told(system.metrics['ndcg@10'])} | {told(system.metrics['hr@10'])} | "
            f"{told(difference) if difference else '–'} |"
        )
    assert {system.name for system in found.systems} == {"candidate", *RIVALS}


def told(interval) -> str:
    return f"{interval.estimate:.4f} ({interval.low:.4f} to {interval.high:.4f})"
