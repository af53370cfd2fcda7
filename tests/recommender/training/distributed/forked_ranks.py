"""Trains by groups of forked processes that meet in a file; imports only once.

    python forked_ranks.py ROOT SCENARIOS

SCENARIOS is JSON: a list of {"size", "out", "workspace", "training", "model", "distributed",
"kill": [rank, step], "watch": step}, run one after another on the data set ROOT/dataset. After the
step that is watched, each process leaves in OUT.RANK.json what it holds. Prints a list of exit
statuses per scenario.
"""

import gc
import json
import os
import signal
import sys
import tempfile
import traceback
from pathlib import Path

import torch
from tiny_world import tiny_config

from recommender.config.model import ModelConfig
from recommender.errors import UserError
from recommender.model.transformer import ITEM_ROWS, UnifiedTransformer
from recommender.training.distributed.ranks import RankError
from recommender.training.distributed.worker import work
from recommender.training.rows import RowAdamW


def held() -> dict:
    """Return the shapes of all tensors of this process, how many numbers its item tables and their
    moments are, and the sum of their mean squared gradients."""
    alive = gc.get_objects()
    (module,) = [each for each in alive if type(each) is UnifiedTransformer]
    (optimizer,) = [each for each in alive if type(each) is RowAdamW]
    numbers, squares = 0, 0.0
    for name in set(ITEM_ROWS) & dict(module.named_parameters()).keys():
        table = module.get_parameter(name)
        moments = [optimizer.state[table][moment] for moment in ("exp_avg", "exp_avg_sq")]
        numbers += sum(each.numel() for each in (table, *moments))
        squares += float(moments[1].double().sum())
    shapes = {
        tuple(each.shape) for each in alive if type(each) in (torch.Tensor, torch.nn.Parameter)
    }
    return {"numbers": numbers, "squares": squares, "shapes": sorted(shapes)}


def child(root: Path, rank: int, told: dict, meeting: str) -> None:
    torch.set_num_threads(1)
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(told["size"])}
    config = tiny_config(root / told["workspace"], **told["training"])
    distributed = {"timeout_s": 60, **told.get("distributed", {})}
    config = config.model_copy(
        update={
            "distributed": config.distributed.model_copy(update=distributed),
            "model": ModelConfig.model_validate(config.model.model_dump() | told.get("model", {})),
        }
    )
    killed, at = told.get("kill") or (None, None)

    def on_step(step: int) -> None:
        if step == told.get("watch"):
            (root / f"{told['out']}.{rank}.json").write_text(json.dumps(held()))
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
