"""Trains a peer's SASRec (RecTools) in the peer's own environment: nothing of ours is imported.

    python peer_sasrec.py FOLDER

reads `asked.json` (`settings`, `cpu_seconds`, `seed`, `k`) and `events.npz` (user, item and place
of what is trained on, and of what is known when asked), writes `lists.npy` (recommended items of
each user, best first, -1 where there is none) and `told.json`.
"""

from __future__ import annotations

import json
import os
import sys
import time
import warnings
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"
warnings.filterwarnings("ignore")

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
import pytorch_lightning as lightning  # noqa: E402
import rectools  # noqa: E402
import torch  # noqa: E402
from rectools import Columns  # noqa: E402
from rectools.dataset import Dataset  # noqa: E402
from rectools.models import SASRecModel  # noqa: E402
from rectools.models.nn.transformers.ligr import LiGRLayers  # noqa: E402

LAYERS = {"ligr": {"transformer_layers_type": LiGRLayers}}


class Clock(lightning.Callback):
    """Ends training by CPU time, within an epoch if need be, and counts what was read."""

    def __init__(self, cpu_seconds: float) -> None:
        self.cpu_seconds, self.tokens, self.steps, self.loss = cpu_seconds, 0, 0, 0.0
        self.started = time.process_time()

    def on_train_batch_end(
        self, trainer: Any, module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.tokens += int((batch["x"] != 0).sum())
        self.steps += 1
        self.loss = float(outputs["loss"])
        if time.process_time() - self.started >= self.cpu_seconds:
            trainer.should_stop = True


def dataset(events: Any, part: str) -> Dataset:
    """Return some of the events as the library reads them."""
    return Dataset.construct(
        pd.DataFrame(
            {
                Columns.User: events[f"{part}_user"],
                Columns.Item: events[f"{part}_item"],
                Columns.Weight: 1.0,
                Columns.Datetime: pd.to_datetime(events[f"{part}_place"], unit="s"),
            }
        )
    )


def main(folder: Path) -> None:
    """Train, recommend, and tell what it took."""
    torch.set_num_threads(1)
    asked = json.loads((folder / "asked.json").read_text())
    events = np.load(folder / "events.npz")
    settings = dict(asked["settings"])
    layers = LAYERS[settings.pop("layers")] if "layers" in settings else {}
    lightning.seed_everything(asked["seed"], verbose=False)
    wall, cpu = time.perf_counter(), time.process_time()

    def trainer() -> Any:
        return lightning.Trainer(
            max_epochs=100_000,
            accelerator="cpu",
            devices=1,
            callbacks=[Clock(asked["cpu_seconds"])],
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )

    model = SASRecModel(get_trainer_func=trainer, **layers, **settings)
    model.fit(dataset(events, "train"))
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    # The library trains with a copy of what it was given.
    clock = next(each for each in model.fit_trainer.callbacks if isinstance(each, Clock))
    users = np.unique(events["known_user"])
    known = dataset(events, "known")
    table = model.recommend(
        users, known, asked["k"], filter_viewed=True, on_unsupported_targets="ignore"
    )
    lists = np.full((len(users), asked["k"]), -1)
    row = np.searchsorted(users, table[Columns.User])
    lists[row, table[Columns.Rank].to_numpy() - 1] = table[Columns.Item]
    np.save(folder / "lists.npy", lists)
    numbers = sum(each.numel() for each in model.torch_model.parameters() if each.requires_grad)
    told = {
        "cpu_seconds": cpu,
        "seconds": wall,
        "tokens": clock.tokens,
        "epochs": clock.steps / max(1, len(model.data_preparator.get_dataloader_train())),
        "loss": clock.loss,
        "parameters": numbers,
        "versions": {
            "rectools": rectools.__version__,
            "torch": torch.__version__,
            "numpy": np.__version__,
            "python": sys.version.split()[0],
        },
    }
    (folder / "told.json").write_text(json.dumps(told))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
