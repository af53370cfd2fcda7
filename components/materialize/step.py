"""Clean tables in, a training data set and published features out."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from components.boundary import running
from feature_repo.store import publish
from recommender.features.build import build_dataset, catalogue_order
from recommender.features.text import encode_items
from recommender.files import read_json
from recommender.privacy import pseudonyms
from recommender.tables import Tables


def run(config: str, run_id: str, clean: str, dataset: str) -> None:
    """Build the data set and publish the rehearsal features as of the candidate's test cut.

    The data set is built first: what can't be split or encoded leaves the feature store alone.
    Live features are never touched here; the deploy step publishes them after a promotion.

    Args:
        config: the configuration as JSON.
        run_id: of this run.
        clean: folder of the validated tables and their manifest.
        dataset: folder that gets the data set.

    Raises:
        SystemExit: the tables can't be turned into features; the message says why.
    """
    with running("materialize", config, run_id) as step:
        tree = step.config
        tables = Tables.read(Path(clean))
        version = str(read_json(Path(clean) / "manifest.json")["data_version"])
        text = encode_items(catalogue_order(tables.items), tree.features.text, tree.paths.cache)
        built = build_dataset(tables, tree, text, pseudonyms(tree.paths.keys), version)
        built.write(Path(dataset))
        cut = built.folds[-1]
        published = publish(tree, tables, cut.test_start, "rehearsal")
        step.summary |= {
            "data_version": version,
            "users": len(built.log.users),
            "items": len(built.catalogue),
            "events": len(built.log),
            "folds": [
                {name: _moment(ms) for name, ms in fold.to_dict().items()} for fold in built.folds
            ],
            "text": text.summary(),
            "published": {
                "project": published.project,
                "as_of": _moment(published.as_of_ms),
                "sequences": published.users,
                "events": published.events,
                "removed": published.removed,
                "seconds": round(published.seconds, 2),
            },
            "warnings": list(text.warnings),
        }


def _moment(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds")
