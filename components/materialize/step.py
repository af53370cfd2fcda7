"""Clean tables in, a training data set and published features out."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from components.boundary import Step, running
from feature_repo.store import publish
from recommender.features.build import build_dataset, catalogue_order
from recommender.features.dataset import Dataset
from recommender.features.expectations.judge import Judged, judge
from recommender.features.expectations.profile import accept, baseline, features_version
from recommender.features.expectations.report import HTML, write_reports
from recommender.features.freshness import DATASET_FILE, Freshness, of_dataset
from recommender.features.snapshots import KEYS, Snapshots
from recommender.features.text import encode_items
from recommender.files import read_json, write_json
from recommender.forgetting.encoders import refuse_marked
from recommender.privacy import pseudonyms
from recommender.tables import Tables


def run(config: str, run_id: str, clean: str, dataset: str) -> None:
    """Build the data set and publish the rehearsal features as of the candidate's test cut.

    The data set is built first: what can't be split or encoded leaves the feature store alone, and
    so do features that break a critical expectation. `features.html` and `features.json` are
    written to the run's folder whatever the verdict. Live features are never touched here; the
    deploy step publishes them after a promotion.

    Args:
        config: the configuration as JSON.
        run_id: of this run.
        clean: folder of the validated tables and their manifest.
        dataset: folder that gets the data set.

    Raises:
        SystemExit: the tables can't be turned into features, the text encoder saw somebody who was
            forgotten, or the features break a critical expectation; the message says why.
    """
    with running("materialize", config, run_id) as step:
        tree = step.config
        tables = Tables.read(Path(clean))
        refuse_marked(tree)
        version = str(read_json(Path(clean) / "manifest.json")["data_version"])
        text = encode_items(catalogue_order(tables.items), tree.features.text, tree.paths.cache)
        built = build_dataset(tables, tree, text, pseudonyms(tree.paths.keys), version)
        built.write(Path(dataset))
        cut = built.folds[-1]
        features = _Inspection(step, version)
        published = publish(
            tree,
            tables,
            cut.test_start,
            "rehearsal",
            data_version=version,
            inspect=features.look,
        )
        features.accept(published.views)
        _date(built, published.views, Path(dataset))
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


class _Inspection:
    """Judges the snapshots of one run before they are published."""

    def __init__(self, step: Step, data_version: str) -> None:
        self._step = step
        self._data_version = data_version
        self._judged: Judged | None = None

    def look(self, built: Snapshots) -> None:
        """Judge snapshots and write the reports.

        Raises:
            DataQualityError: a critical expectation is broken.
        """
        tree = self._step.config
        version = features_version(tree, self._data_version)
        self._judged = judge(
            built.tables,
            KEYS,
            built.as_of,
            tree,
            data_version=self._data_version,
            now=datetime.now(UTC),
            against=baseline(tree.paths.features, version),
            pseudonym=pseudonyms(tree.paths.keys).of,
        )
        self._report(self._judged, ())
        self._judged.sound(self._step.folder / HTML)

    def accept(self, views: Sequence[Freshness]) -> None:
        """Keep the profile for the next run's comparison; say in the reports what was published."""
        if self._judged is not None:
            self._report(self._judged, views)
            accept(self._step.config.paths.features, self._judged.profile)

    def _report(self, judged: Judged, views: Sequence[Freshness]) -> None:
        page = write_reports(
            judged,
            self._step.folder,
            name=self._step.config.name,
            comparing=self._step.config.features.expectations.drift.compare,
            published={each.view: each for each in views},
        )
        self._step.summary["features"] = {
            "verdict": judged.verdict,
            "expectations": len(judged.findings),
            "passed": sum(found.passed for found in judged.findings),
            "warned": [f"{found.view}: {found.name}" for found in judged.warnings],
            "broken": [f"{found.view}: {found.name}" for found in judged.critical],
            "against": judged.against.data_version if judged.against else None,
            "report": str(page),
        }


def _date(built: Dataset, views: Sequence[Freshness], folder: Path) -> None:
    """Note beside the data set how fresh it is; it travels with it to wherever it is trained on."""
    newest = int(built.log.times.max()) if len(built.log) else None
    dated = of_dataset(views, newest)
    write_json(folder / DATASET_FILE, {each.view: each.to_dict() for each in dated})


def _moment(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds")
