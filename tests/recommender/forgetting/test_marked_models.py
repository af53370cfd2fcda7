"""Which versions bear the mark of a forgotten person: who saw them, and what came of those."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from forget_people import person

from recommender.artifact import Model
from recommender.baselines.popularity import Popularity
from recommender.config.actions import ActionsConfig
from recommender.features.sequences import Catalogue
from recommender.forgetting.models import mark
from recommender.registry import Decision, Lineage, Registry, Status
from recommender.split import Fold
from recommender.workspace import Workspace

FOLD = Fold(1, 2, 3)
ACTIONS = ActionsConfig(types=("view",), history=("view",), success=("view",))


def test_what_started_from_a_model_that_saw_the_person_is_marked_with_it(tmp_path: Path) -> None:
    paths = Workspace(tmp_path / "workspace")
    registry, made = Registry.of(paths), []
    for name in ("old", "new"):
        (paths.data / "versions" / name).mkdir(parents=True)

    def register(data: str, **came: object) -> str:
        counts = np.array([1.0, len(made)], np.float32)
        scorer = Popularity(Catalogue(("a", "b")), counts)
        folder = tmp_path / f"model-{len(made)}"
        Model(scorer, ("A", "B"), ACTIONS, 5).save(folder)
        lineage = Lineage("run-1", data, "", {}, "", (FOLD,), **came)  # type: ignore[arg-type]
        made.append(registry.register(folder, lineage, Decision("run-1", Status.PASSED)))
        return made[-1]

    saw = register("old")
    refreshed = register("new", parents=(saw,))
    transferred = register("new", training={"transfer": {"from": refreshed}})
    alone = register("new")
    other = register("new", parents=(alone,))

    marked = mark(registry, paths.data, ["old"], person("ann"))
    assert set(marked) == {saw, refreshed, transferred}
    for version in (saw, refreshed, transferred):
        (told,) = registry.retrain_marks(version)
        assert told.certain
    assert not registry.retrain_marks(alone)
    assert not registry.retrain_marks(other)
    assert mark(registry, paths.data, ["old"], person("ann")) == marked
