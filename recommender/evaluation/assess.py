"""Measures a candidate, its rivals and the champion on one frozen set of requests.

With rolling cuts, every fold has its own candidate and its own rivals, none of which saw
anything at or after that fold's cut. A user who is tested in several folds is averaged over
all requests and stays one user.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import pyarrow as pa

from recommender.artifact import Model
from recommender.baselines.rivals import fit
from recommender.config import Config
from recommender.config.evaluation import PRIMARY
from recommender.errors import EvaluationError
from recommender.evaluation.backtest import backtest
from recommender.evaluation.champion import Aligned
from recommender.evaluation.evidence import (
    CANDIDATE,
    CHAMPION,
    ChampionFacts,
    Evidence,
    FoldFacts,
    LanguageFacts,
    SetFacts,
)
from recommender.evaluation.find import find
from recommender.evaluation.freeze import freeze, known_at_cuts
from recommender.evaluation.frozen import EvaluationSet
from recommender.evaluation.long_term.served_lists import Shown
from recommender.evaluation.panel import Panel
from recommender.evaluation.score import Ranker, Scored, score
from recommender.features.dataset import Dataset

_EXAMPLES = 5
FORECAST, RECENT = "trend-popularity", "recent-popularity"


@dataclass(frozen=True)
class Champion:
    """The model in production.

    Attributes:
        version: in the registry.
        model: itself.
        test_start: the moment (UTC ms) from which on it saw nothing.
        to_replace: people it saw who have asked to be forgotten since.
    """

    version: str
    model: Model
    test_start: int
    to_replace: int = 0


@dataclass(frozen=True)
class Assessment:
    """The evidence and what it was computed from.

    Attributes:
        evidence: figures, intervals and facts.
        requests: the frozen set.
        users: a row per user, see `Panel.table`.
    """

    evidence: Evidence
    requests: EvaluationSet
    users: pa.Table


def assess(
    dataset: Dataset,
    candidates: Sequence[Model],
    config: Config,
    *,
    run_id: str = "",
    candidate_version: str = "",
    champion: Champion | None = None,
    shown: Shown | None = None,
) -> Assessment:
    """Measure everything.

    Args:
        dataset: the log and its folds.
        candidates: one model per fold, each trained on what lies before the fold's test window;
            the last is the candidate itself.
        config: the whole configuration.
        run_id: of the pipeline run.
        candidate_version: content hash of the candidate, as the registry names it.
        champion: the model in production, if there is one. It is compared on the last fold
            only: it may have been trained on the earlier ones.
        shown: lists that were served, if any were logged.

    Raises:
        EvaluationError: nobody can be tested, or models and folds don't belong together.
    """
    if len(candidates) != len(dataset.folds):
        raise EvaluationError(
            f"{len(candidates)} models for {len(dataset.folds)} folds",
            "train with the same split as the data set was materialized with",
        )
    settings = config.evaluation
    requests = freeze(
        dataset, config.actions, config.features.history_limit, settings.requests_per_user
    )
    asked = known_at_cuts(requests, dataset, config.actions)
    requests = asked[-1]
    runs = {CANDIDATE: [_score(model, asked[n], n, config) for n, model in enumerate(candidates)]}
    kinds = {CANDIDATE: candidates[-1].scorer.kind}
    for rival in settings.rivals:
        models = (fit(rival, dataset, fold, config) for fold in dataset.folds)
        runs[rival] = [_score(model, asked[n], n, config, rival) for n, model in enumerate(models)]
        kinds[rival] = rival
    panels = [Panel(requests, runs, kinds, settings, config.seed)]
    facts = None
    if champion is not None:
        facts, duel = _against(champion, runs[CANDIDATE][-1], requests, config, candidate_version)
        panels += [duel] if duel else []
    systems = [*panels[0].systems, *(system for duel in panels[1:] for system in duel.systems[1:])]
    evidence = Evidence(
        run_id=run_id,
        config=config.model_dump(mode="json", exclude={"workspace"}),
        config_fingerprint=config.fingerprint(),
        candidate_version=candidate_version,
        encoder=dataset.encoder,
        evaluation_set=_facts(requests),
        metrics=panels[0].metrics,
        primary=PRIMARY,
        confidence=settings.confidence,
        resamples=settings.resamples,
        seed=config.seed,
        systems=tuple(systems),
        comparisons=tuple(found for panel in panels for found in panel.comparisons),
        champion=facts,
        languages=tuple(
            LanguageFacts(
                name=each.name,
                items=each.texts,
                unknown_rate=each.unknown_rate,
                reported=each.known,
            )
            for each in dataset.languages
        ),
        backtest=backtest(dataset.log, dataset.items, config, dataset.folds[-1].test_end)
        if settings.backtest
        else None,
        findings=find(panels[0], dataset, candidates[-1], config, shown),
        forecast_popularity=panels[0].comparison(FORECAST, RECENT)
        if {FORECAST, RECENT} <= runs.keys()
        else None,
    )
    return Assessment(evidence, requests, panels[0].table())


def _against(
    champion: Champion,
    candidate: Scored,
    requests: EvaluationSet,
    config: Config,
    candidate_version: str,
) -> tuple[ChampionFacts, Panel | None]:
    """Score the champion on the last fold; without requests there, only state the facts."""
    fold = len(requests.windows) - 1
    aligned = Aligned(champion.model.ranker, requests.catalogue)
    scored = _score(champion.model, requests, fold, config, CHAMPION, aligned)
    panel = None
    if len(scored.rows):
        runs = {CANDIDATE: [candidate], CHAMPION: [scored]}
        kinds = {CANDIDATE: "", CHAMPION: champion.model.scorer.kind}
        panel = Panel(requests, runs, kinds, config.evaluation, config.seed)
    same_lists = panel is not None and candidate.fingerprint == scored.fingerprint
    facts = ChampionFacts(
        version=champion.version,
        kind=champion.model.scorer.kind,
        test_start=champion.test_start,
        saw_the_test=champion.test_start > requests.windows[fold].test_start,
        missing_items=aligned.missing,
        unknown_items=aligned.unknown,
        to_replace=champion.to_replace,
        identical="bytes"
        if champion.version == candidate_version
        else "lists"
        if same_lists
        else None,
    )
    return facts, panel


def _score(
    model: Model,
    requests: EvaluationSet,
    fold: int,
    config: Config,
    name: str = CANDIDATE,
    ranker: Ranker | None = None,
) -> Scored:
    """Score a model (through `ranker`, if given) on the requests of one fold."""
    several = f", cut {fold + 1} of {len(requests.windows)}" if len(requests.windows) > 1 else ""
    return score(
        ranker or model.ranker,
        model.history,
        requests,
        requests.of_fold(fold),
        config.evaluation.k,
        label=f"{name}{several}",
        block_bytes=config.evaluation.block_mb * 2**20,
    )


def _facts(requests: EvaluationSet) -> SetFacts:
    folds = [
        FoldFacts(
            test_start=window.test_start,
            test_end=window.test_end,
            users=len(np.unique(requests.users[requests.of_fold(n)])),
            requests=len(requests.of_fold(n)),
        )
        for n, window in enumerate(requests.windows)
    ]
    return SetFacts(
        version=requests.version,
        data_version=requests.data_version,
        users=len(requests.log.users),
        requests=len(requests),
        items=len(requests.catalogue),
        unscored_users=len(requests.unscored),
        unscored_examples=dict(islice(requests.unscored.items(), _EXAMPLES)),
        counts=requests.counts,
        exclude_seen=requests.exclude_seen,
        history_limit=requests.history_limit,
        folds=tuple(folds),
    )
