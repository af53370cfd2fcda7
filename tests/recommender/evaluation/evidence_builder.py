"""Evidence by hand, for the tests of the gate and the report."""

from __future__ import annotations

from recommender.evaluation.evidence import (
    CHAMPION,
    ChampionFacts,
    Comparison,
    Evidence,
    FoldFacts,
    Interval,
    SetFacts,
    System,
)
from recommender.evaluation.metrics import metric_names

NAMES = metric_names((5, 10))


def interval(
    estimate: float | None, low: float | None = None, high: float | None = None
) -> Interval:
    return Interval(estimate=estimate, low=low, high=high)


def everywhere(found: Interval) -> dict[str, Interval]:
    return dict.fromkeys(NAMES, found)


def system(name: str, value: float = 0.2, *, users: int = 1000, nonfinite: int = 0) -> System:
    return System(
        name=name,
        kind="transformer" if name == "candidate" else name,
        users=users,
        metrics=everywhere(interval(value, value - 0.01, value + 0.01)),
        nonfinite_scores=nonfinite,
    )


def comparison(
    rival: str,
    low: float = 0.01,
    estimate: float = 0.05,
    *,
    relative: Interval | None = None,
    users: int = 1000,
) -> Comparison:
    """The candidate is better by `estimate`, surely by `low`; theirs is 0.1 unless said."""
    high = 2 * estimate - low
    share = relative or interval(10 * estimate, 10 * low, 10 * high)
    return Comparison(
        rival=rival,
        users=users,
        candidate=everywhere(interval(0.1 + estimate)),
        rival_metrics=everywhere(interval(0.1)),
        difference=everywhere(interval(estimate, low, high)),
        relative=everywhere(share),
        detectable=dict.fromkeys(NAMES, 0.004),
    )


def champion(**changes) -> ChampionFacts:
    facts = {
        "version": "m-00000000000c",
        "kind": "transformer",
        "test_start": 100,
        "saw_the_test": False,
        "missing_items": 0,
        "identical": None,
    }
    return ChampionFacts.model_validate({**facts, **changes})


RIVALS = {name: comparison(name) for name in ("popularity", "recent-popularity", "item-knn")}


def evidence(
    *,
    users: int = 1000,
    value: float = 0.2,
    nonfinite: int = 0,
    reigning: ChampionFacts | None = None,
    **comparisons: Comparison | None,
) -> Evidence:
    """Evidence of a candidate that is fine in every way but those named."""
    given = {name.replace("_", "-"): found for name, found in comparisons.items()}
    compared = {**RIVALS, **({CHAMPION: comparison(CHAMPION)} if reigning else {}), **given}
    compared = {
        name: found.model_copy(update={"users": users}) if name in RIVALS else found
        for name, found in compared.items()
        if found is not None
    }
    return Evidence(
        run_id="run-1",
        config={"name": "tiny", "seed": 7},
        config_fingerprint="0123456789ab",
        candidate_version="m-00000000000a",
        encoder="encoder",
        evaluation_set=SetFacts(
            version="e-1",
            data_version="d-1",
            users=users,
            requests=3 * users,
            items=50,
            unscored_users=1,
            unscored_examples={"pseudonym": "took nothing in the test window"},
            counts={"requests without history": 4},
            exclude_seen=True,
            history_limit=200,
            folds=(FoldFacts(test_start=100, test_end=200, users=users, requests=3 * users),),
        ),
        metrics=NAMES,
        primary="ndcg@10",
        confidence=0.95,
        resamples=2000,
        seed=7,
        systems=(
            system("candidate", value, users=users, nonfinite=nonfinite),
            *(system(name, 0.1, users=users) for name in compared),
        ),
        comparisons=tuple(compared.values()),
        champion=reigning,
    )
