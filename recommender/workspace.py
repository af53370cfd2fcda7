"""Where one data set's state lies on this machine: the only place that names its folders."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Workspace:
    """The folders below `root` (one workspace per data set).

    Everything a run leaves behind is here; deleting the folder forgets the data set.
    """

    root: Path

    @property
    def data(self) -> Path:
        """Immutable canonical tables, a folder per data version; `accepted.json`."""
        return self.root / "data"

    @property
    def cache(self) -> Path:
        """What can be made again: downloads, text vectors by content hash."""
        return self.root / "cache"

    @property
    def features(self) -> Path:
        """Feast's stores: `registry.db`, `online.db`, `offline/<project>/*.parquet`.

        Also how fresh they are (`freshness/`) and what the next run's features are compared with
        (`accepted_profile.json`).
        """
        return self.root / "features"

    @property
    def checkpoints(self) -> Path:
        """Training state of runs that were cut off, a folder per training fingerprint."""
        return self.root / "checkpoints"

    @property
    def tuning(self) -> Path:
        """Studies of settings, a file each."""
        return self.root / "tuning"

    @property
    def registry(self) -> Path:
        """Signed model versions, decisions and aliases."""
        return self.root / "registry"

    @property
    def serving(self) -> Path:
        """The local serving target: `routes.json`, process files, logs, rollouts."""
        return self.root / "serving"

    @property
    def served(self) -> Path:
        """Lists as they were served, a folder per day (`recommender/served_store.py`)."""
        return self.root / "served"

    @property
    def feedback(self) -> Path:
        """What came of them, a folder per day, and `outbox.db`: what waits to be written."""
        return self.root / "feedback"

    @property
    def keys(self) -> Path:
        """Generated local keys, readable by the owner only."""
        return self.root / "keys"

    @property
    def privacy(self) -> Path:
        """Who asked to be forgotten: `suppressed.json` (pseudonyms), `certificates/`."""
        return self.root / "privacy"

    @property
    def kfp(self) -> Path:
        """`pipeline_root` of local pipeline runs."""
        return self.root / "kfp"

    def run(self, run_id: str) -> Path:
        """Return the folder of one run's reports, step records and outcome."""
        return self.root / "runs" / run_id
