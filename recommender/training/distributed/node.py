"""One node of a TrainJob: fetches the data set, runs torchrun, leaves the model.

    python -m recommender.training.distributed.node s3://bucket/prefix/fingerprint FOLD

Kubeflow Trainer tells each node where the first one is (PET_MASTER_ADDR, PET_MASTER_PORT); there
the nodes meet. When another than the first is evicted, those that are left meet again, with as few
as `distributed.least_nodes`, and go on from the checkpoint in S3; when the first one is lost, or a
pod fails by itself, the whole set is started again and goes on from there.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from recommender.config import Config
from recommender.errors import UserError
from recommender.storage import open_store
from recommender.training.distributed.launch import run, torchrun
from recommender.training.distributed.remote import CONFIG, DATASET, FAILED, OUT, is_there, put
from recommender.training.distributed.worker import failure_of, leave


def rendezvous(config: Config, remote: str, variables: Mapping[str, str]) -> list[str]:
    """Return how torchrun's agents find each other.

    Args:
        config: the whole tree.
        remote: location of the training, which names the meeting.
        variables: of the environment.
    """
    most = config.distributed.nodes
    address = variables.get("PET_MASTER_ADDR")
    if most == 1 or not address:
        return ["--standalone"]
    least = min(config.distributed.least_nodes or most, most)
    return [
        f"--nnodes={least}:{most}",
        "--rdzv-backend=c10d",
        f"--rdzv-endpoint={address}:{variables.get('PET_MASTER_PORT', '29500')}",
        f"--rdzv-id={remote.rsplit('/', 1)[-1]}",
    ]


def main(words: Sequence[str] | None = None) -> int:
    """Train as one node; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("remote")
    parser.add_argument("fold", type=int)
    parser.add_argument("--scratch", type=Path, default=Path(tempfile.gettempdir()))
    told = parser.parse_args(words)
    store = open_store(told.remote)
    home: Path = told.scratch / "training"
    out = home / "out"
    try:
        config = Config.from_json(store.read(CONFIG).data.decode())
        if not is_there(store, OUT):
            store.download(DATASET, home / "dataset")
            (home / "config.json").write_text(config.to_json(), encoding="utf-8")
            # Kubeflow's own variables are for torchrun without words; ours say it all.
            named = {name: value for name, value in os.environ.items() if name.startswith("PET_")}
            for name in named:
                del os.environ[name]
            status = run(
                [
                    *torchrun(config, rendezvous=rendezvous(config, told.remote, named)),
                    *(str(home / "dataset"), str(home / "config.json")),
                    *(str(told.fold), str(out), "--remote", told.remote),
                ],
                {"OMP_NUM_THREADS": str(config.training.threads)},
            )
            if status:
                return status
    except UserError as error:
        print(error, file=sys.stderr)
        if error.passing:
            return 1
        home.mkdir(parents=True, exist_ok=True)
        leave(error, out)
    # Only the node of the first process has something to tell.
    if failure_of(out).exists():
        store.write_bytes(FAILED, failure_of(out).read_bytes())
    elif (out / "trained.json").exists():
        put(store, out, OUT)
    return 0


if __name__ == "__main__":
    sys.exit(main())
