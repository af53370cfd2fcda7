"""One process of a group that trains; torchrun starts it.

    torchrun … -m recommender.training.distributed.worker DATASET CONFIG FOLD OUT

DATASET is a folder, CONFIG a file with the configuration as JSON, FOLD a place among the data set's
folds. The first process leaves the model and `trained.json` in the folder OUT; it keeps checkpoints
in the workspace, or at `--remote`, which every node reaches. What a user can mend is left in
`OUT.failed.json`; such a process ends well, because to start it again would not help.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from recommender import progress
from recommender.config import Config
from recommender.errors import UserError
from recommender.files import atomic_directory, read_json, write_json
from recommender.split import Fold
from recommender.storage import open_store
from recommender.training.checkpoint import Checkpoints
from recommender.training.distributed.ground import LaneGround, fingerprint_of_folder
from recommender.training.distributed.ranks import RankError, joined
from recommender.training.distributed.remote import RemoteCheckpoints
from recommender.training.run import train_on
from recommender.training.trained import Trained


def work(
    dataset: Path,
    config: Config,
    place: int,
    out: Path,
    *,
    meeting: str = "env://",
    checkpoints: Callable[[str], Checkpoints] | None = None,
    on_step: Callable[[int], None] | None = None,
) -> Trained:
    """Train as one process of the group that the environment names.

    Args:
        dataset: folder of the data set.
        config: the whole tree.
        place: of the fold.
        out: the folder that the first process leaves the model in.
        meeting: as for `joined`.
        checkpoints: makes the place of checkpoints from the run's fingerprint; by default the
            workspace's folder.
        on_step: called with the number of every finished step of a phase.

    Returns:
        what was trained, in every process the same.

    Raises:
        UserError: what is wrong with the data, the configuration or the surroundings.
    """
    settings = config.distributed
    with joined(settings.backend, settings.timeout_s, meeting) as ranks:
        if ranks.rank:
            os.environ.pop(progress.VARIABLE, None)
        folds = read_json(dataset / "dataset.json")["folds"]
        fold = Fold(**folds[place])
        name = str(ranks.told(lambda: fingerprint_of_folder(dataset, fold, config)))
        own = checkpoints(name) if checkpoints else at_workspace(config, name)
        ground = LaneGround(dataset, place, config, ranks, own)
        label = "train" if len(folds) == 1 else f"train {place + 1}/{len(folds)}"
        trained = train_on(ground, fold, config, label, on_step)
        ranks.told(lambda: _write(trained, out))
    return trained


def at_workspace(config: Config, fingerprint: str) -> Checkpoints:
    """Return the checkpoints of a training, in the workspace."""
    return Checkpoints(config.paths.checkpoints / fingerprint, fingerprint)


def _write(trained: Trained, out: Path) -> None:
    with atomic_directory(out) as temporary:
        trained.model.save(temporary / "model")
        write_json(
            temporary / "trained.json",
            {
                "curve": [asdict(epoch) for epoch in trained.curve],
                "best_epoch": trained.best_epoch,
                "validation_users": trained.validation_users,
                "parameters": trained.parameters,
                "fingerprint": trained.fingerprint,
            },
        )


def failure_of(out: Path) -> Path:
    """Return the file that says what a user can mend, if that is why training ended."""
    return out.with_name(f"{out.name}.failed.json")


def leave(error: UserError, out: Path) -> None:
    """Say what a user can mend, where the launcher looks for it."""
    told = {"message": error.message, "hint": error.hint, "kind": type(error).__name__}
    write_json(failure_of(out), told)


def main(words: Sequence[str] | None = None) -> int:
    """Train; return the process's exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dataset", type=Path)
    parser.add_argument("config", type=Path)
    parser.add_argument("fold", type=int)
    parser.add_argument("out", type=Path)
    parser.add_argument("--remote", default="", help="location that checkpoints also go to")
    told = parser.parse_args(words)

    def remote(fingerprint: str) -> Checkpoints:
        folder = told.out.parent / "checkpoints"
        return RemoteCheckpoints(folder, fingerprint, open_store(told.remote))

    try:
        config = Config.from_json(told.config.read_text(encoding="utf-8"))
        checkpoints = remote if told.remote else None
        work(told.dataset, config, told.fold, told.out, checkpoints=checkpoints)
    except RankError as error:
        print(error, file=sys.stderr)
        return 1
    except UserError as error:
        print(error, file=sys.stderr)
        if error.passing:
            return 1
        leave(error, told.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
