"""Trains by a TrainJob: brings it the data, waits for it, fetches what it leaves.

Everything of a training lies under one prefix in S3, named by its fingerprint:

    dataset/, config.json   what the nodes read
    checkpoints/            the training's state
    out/                    the model and `trained.json`
    failed.json             what a user can mend, if that is why it ended

So a step that is killed and started again finds what it had begun: the data that are there, the job
that is at work, or the model that is done.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

from components.train.trainjob.follow import TrainJobError, follow, jobs, look
from components.train.trainjob.manifest import job_name, remote_of, train_job
from recommender.config import Config
from recommender.files import atomic_directory
from recommender.split import Fold
from recommender.storage import open_store
from recommender.storage.store import Store
from recommender.training.distributed.ground import fingerprint_of_folder
from recommender.training.distributed.launch import must_be_there, trained_at
from recommender.training.distributed.remote import CONFIG, DATASET, FAILED, OUT, is_there, put
from recommender.training.distributed.worker import failure_of
from recommender.training.trained import Trained
from serving.rollout.kserve.client import Cluster

_GONE_S = 120.0


def train_by_job(dataset: Path, place: int, config: Config, out: Path) -> Trained:
    """Train one fold on nodes of their own.

    Args:
        dataset: folder of the data set.
        place: of the fold.
        config: the whole tree.
        out: the folder that gets `model` and `trained.json`; its parent must be this run's own.

    Raises:
        TrainJobError: the job was refused, never began, or came to a bad end.
        ServingError: the API server can't be asked.
        StorageError: S3 can't be reached.
        UserError: what the nodes say that a user can mend.
    """
    described = json.loads((dataset / "dataset.json").read_text(encoding="utf-8"))
    fold = Fold(**described["folds"][place])
    name = fingerprint_of_folder(dataset, fold, config)
    manifest = train_job(config, place, name, dict(os.environ))
    store = open_store(remote_of(config, name))
    if not is_there(store, OUT):
        _bring(store, dataset, config)
        settings = config.distributed.trainjob
        cluster = Cluster.connect(
            settings,
            "distributed.trainjob",
            rights="infra/kustomize/components/distributed-training/role.yaml gives the rights",
        )
        _begin(cluster, store, config, manifest)
        follow(cluster, settings, job_name(config, name))
        cluster.delete(jobs(settings), job_name(config, name))
    _fetch(store, out)
    must_be_there(out, 0, config)
    return trained_at(out)


def forget_job(dataset: Path, fold: Fold, config: Config) -> None:
    """Remove what a training has left in S3; its model is safe elsewhere."""
    store = open_store(remote_of(config, fingerprint_of_folder(dataset, fold, config)))
    for entry in store.list():
        store.delete(entry.key)


def _bring(store: Store, dataset: Path, config: Config) -> None:
    """Upload what the nodes read; the configuration comes last and says that all is there."""
    store.delete(FAILED)
    if not is_there(store, DATASET):
        put(store, dataset, DATASET)
    store.write_bytes(CONFIG, config.to_json().encode())


def _begin(cluster: Cluster, store: Store, config: Config, manifest: dict[str, object]) -> None:
    """Create the job; one of the same name that is at work is taken over, a failed one replaced.

    Raises:
        TrainJobError: a failed one does not go away.
        RolloutError: the API server refuses the manifest.
    """
    kind = jobs(config.distributed.trainjob)
    name = str(manifest["metadata"]["name"])  # type: ignore[index]
    there = cluster.get(kind, name)
    ended = there is not None and look(there).state in ("Failed", "Complete")
    if ended and not is_there(store, OUT):
        # Its checkpoints are in S3, not in it.
        cluster.delete(kind, name)
        until = time.monotonic() + _GONE_S
        while cluster.get(kind, name) is not None:
            if time.monotonic() > until:
                raise TrainJobError(
                    f"the TrainJob {name} of an earlier attempt does not go away",
                    "look what holds it (kubectl get trainjob -o yaml: finalizers)",
                )
            time.sleep(min(1.0, config.distributed.trainjob.poll_s))
    cluster.create(kind, manifest)


def _fetch(store: Store, out: Path) -> None:
    """Download the model, or what the nodes say that a user can mend."""
    failure_of(out).unlink(missing_ok=True)
    if store.stat(FAILED) is not None:
        failure_of(out).parent.mkdir(parents=True, exist_ok=True)
        failure_of(out).write_bytes(store.read(FAILED).data)
        return
    if not is_there(store, OUT):
        raise TrainJobError(
            "the TrainJob is complete, but has left no model in S3",
            "look at its pods' logs, and whether they may write to distributed.trainjob.location",
        )
    with atomic_directory(out) as temporary:
        store.download(OUT, temporary)
