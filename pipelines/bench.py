"""`ostinato bench`: the model and its rivals on one data set, trained and measured alike."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from rich.console import Console
from rich.table import Table

from recommender.artifact import Model
from recommender.baselines import rivals
from recommender.config import Config
from recommender.config.evaluation import PRIMARY, Rival
from recommender.ensemble import fused
from recommender.errors import ConfigError
from recommender.evaluation.contest import Contest, Contestant, hold
from recommender.features.build import build_dataset, catalogue_order
from recommender.features.dataset import Dataset
from recommender.features.text import encode_items
from recommender.files import write_json
from recommender.privacy import pseudonyms
from recommender.quality.clean import clean
from recommender.sources.read import read
from recommender.split import Fold

UNIFIED = "unified"
"""The name of the model that this project is about."""

ENSEMBLE = "ensemble"
"""The name of its fusion with the systems of `training.ensemble`."""

CLASSICS = (UNIFIED, "popularity", "recent-popularity", "item-knn")
"""Who takes part unless others are named."""


def dataset_of(config: Config) -> Dataset:
    """Read the source and return what models are trained on, as the pipeline's first steps do.

    Nothing is published and nothing accepted: a comparison leaves the product as it is.

    Raises:
        UserError: the source can't be read or turned into features.
    """
    tables, _ = read(config)
    cleaned = clean(tables, config, datetime.now(UTC)).tables
    text = encode_items(catalogue_order(cleaned.items), config.features.text, config.paths.cache)
    return build_dataset(cleaned, config, text, pseudonyms(config.paths.keys), "bench")


def contestants(config: Config, systems: Sequence[str]) -> list[Contestant]:
    """Return who takes part, the unified model first if it does.

    Args:
        config: everybody's.
        systems: `unified`, `ensemble` and names of rivals.

    Raises:
        ConfigError: nobody is called so, or the ensemble takes part and has no members.
    """
    own: dict[str, rivals.Fit] = {UNIFIED: fit_unified, ENSEMBLE: fit_ensemble}
    known = [*own, *rivals.names()]
    if strangers := [name for name in systems if name not in known]:
        raise ConfigError(f"no system is called {strangers[0]!r}", f"there are {', '.join(known)}")
    if ENSEMBLE in systems and config.training.ensemble is None:
        raise ConfigError(
            "the ensemble has no members", "name them and their weights in training.ensemble"
        )
    ordered = sorted(dict.fromkeys(systems), key=lambda name: name != UNIFIED)
    return [Contestant(name, own.get(name) or _rival(name), config) for name in ordered]


def fit_unified(dataset: Dataset, fold: Fold, config: Config) -> Model:
    """Train the unified Transformer, its own answer for everybody, also without a history."""
    from recommender.training.run import forget, train

    trained = train(dataset, fold, config, UNIFIED)
    forget(dataset, fold, config)
    return trained.model


def fit_ensemble(dataset: Dataset, fold: Fold, config: Config) -> Model:
    """Train the unified Transformer and fuse it with the systems of `training.ensemble`."""
    return fused(fit_unified(dataset, fold, config), dataset, fold, config)


def write(contest: Contest, config: Config, out: Path) -> None:
    """Write `bench.json`: the table, the settings, and what stands behind the figures."""
    panel = contest.panel
    systems = {system.name: system for system in panel.systems}
    against = {found.rival: found for found in panel.comparisons}
    rows = [
        {
            "system": name,
            **{"kind": cost.kind, "cpu_s": cost.cpu_s, "answer_ms": cost.answer_ms},
            "numbers": cost.numbers,
            "metrics": {
                metric: interval.model_dump(mode="json")
                for metric, interval in systems[name].metrics.items()
            },
            "first_minus_it": against[name].difference[PRIMARY].model_dump(mode="json")
            if name in against
            else None,
            "detectable": against[name].detectable[PRIMARY] if name in against else None,
        }
        for name, cost in contest.costs.items()
    ]
    write_json(
        out,
        {
            "config": config.model_dump(mode="json", exclude={"workspace"}),
            "users": len(panel.users),
            "requests": len(panel.rows),
            "users_by_fold": list(contest.folds),
            "systems": rows,
        },
    )


def show(contest: Contest, screen: Console) -> None:
    """Print the table, the best first."""
    panel = contest.panel
    first = next(iter(contest.costs))
    against = {found.rival: found for found in panel.comparisons}
    screen.print(
        f"{len(panel.users):,} users, {len(panel.rows):,} requests in {len(contest.folds)} "
        f"cut(s), {len(panel.requests.catalogue):,} items ranked",
        highlight=False,
    )
    table = Table()
    for name in ("system", "NDCG@10", "HR@10", f"{first} − it", "CPU s", "numbers", "ms"):
        # Where there is little room, the interval goes to a line of its own.
        side: Literal["left", "right"] = "left" if name == "system" else "right"
        table.add_column(name, justify=side, no_wrap=not name.endswith("it"))
    for system in sorted(panel.systems, key=lambda s: -(s.metrics[PRIMARY].estimate or 0)):
        cost = contest.costs[system.name]
        ndcg, hits = system.metrics[PRIMARY], system.metrics["hr@10"]
        duel = against.get(system.name)
        gap = duel.difference[PRIMARY] if duel else None
        table.add_row(
            system.name,
            f"{ndcg.estimate:.4f}",
            f"{hits.estimate:.4f}",
            f"{gap.estimate:+.4f} ({gap.low:+.4f} to {gap.high:+.4f})" if gap else "",
            f"{cost.cpu_s:.0f}",
            f"{cost.numbers:,}",
            f"{cost.answer_ms:.2f}",
        )
    screen.print(table)
    if len(panel.users) < 500:
        screen.print(f"{len(panel.users)} users are too few to bet on; the gate asks for 500.")


def run(config: Config, systems: Sequence[str], screen: Console, out: Path | None) -> Contest:
    """Train and measure the systems, print the table, and write it if asked.

    Raises:
        UserError: no such system, or the data can't be read, cut or trained on.
    """
    taking_part = contestants(config, systems)
    contest = hold(dataset_of(config), taking_part, config)
    show(contest, screen)
    if out is not None:
        write(contest, config, out)
    return contest


def _rival(name: str) -> rivals.Fit:
    def fit(dataset: Dataset, fold: Fold, config: Config) -> Model:
        chosen: Rival = name  # type: ignore[assignment]  # checked against the table of rivals
        return rivals.fit(chosen, dataset, fold, config)

    return fit
