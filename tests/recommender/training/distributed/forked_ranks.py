"""Trains by groups of forked processes that meet in a file; imports only once.

    python forked_ranks.py ROOT SCENARIOS

SCENARIOS is JSON: a list of {"size", "out", "workspace", "training", "kill": [rank, step]}, run one
after another on the data set ROOT/dataset. Prints a list of exit statuses per scenario.
"""

import json
import os
import signal
import sys
import tempfile
import traceback
from pathlib import Path

import torch
from tiny_world import tiny_config

from recommender.errors import UserError
from recommender.training.distributed.ranks import RankError
from recommender.training.distributed.worker import work


def child(root: Path, rank: int, told: dict, meeting: str) -> None:
    torch.set_num_threads(1)
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(told["size"])}
    config = tiny_config(root / told["workspace"], **told["training"])
    config = config.model_copy(
        update={"distributed": config.distributed.model_copy(update={"timeout_s": 60})}
    )
    killed, at = told.get("kill") or (None, None)

    def on_step(step: int) -> None:
        if rank == killed and step == at:
            os.kill(os.getpid(), signal.SIGKILL)

    try:
        work(root / "dataset", config, -1, root / told["out"], meeting=meeting, on_step=on_step)
    except RankError:
        os._exit(1)
    except UserError as error:
        print(error, file=sys.stderr, flush=True)
        os._exit(2)


def main() -> None:
    root, scenarios = Path(sys.argv[1]), json.loads(sys.argv[2])
    statuses = []
    for told in scenarios:
        began = os.times()
        meeting = f"file://{tempfile.mkdtemp(dir=root)}/meeting"
        processes = []
        for rank in range(told["size"]):
            process = os.fork()
            if not process:
                status = 2
                try:
                    child(root, rank, told, meeting)
                    status = 0
                except BaseException:  # noqa: BLE001 told to whoever started it
                    traceback.print_exc()
                finally:
                    os._exit(status)
            processes.append(process)
        statuses.append([os.waitstatus_to_exitcode(os.waitpid(p, 0)[1]) for p in processes])
        spent = os.times()
        cpu = spent.children_user + spent.children_system
        cpu -= began.children_user + began.children_system
        print(f"{told['out']}: {cpu:.1f} s of CPU", file=sys.stderr)
    print(json.dumps(statuses))


if __name__ == "__main__":
    main()
