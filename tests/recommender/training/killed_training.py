"""Trains the tiny world in child processes that kill themselves; imports only once.

    python killed_training.py WORKSPACE OUT KILL_AFTER KILL_AFTER …

Every KILL_AFTER is one child and counts its steps, over both phases; the last child lives and
saves. Prints the wait status of each child.
"""

import os
import signal
import sys
from pathlib import Path

from tiny_world import tiny_config, tiny_dataset

from recommender.training.run import train


def child(workspace: Path, out: Path, kill_after: int | None) -> None:
    done = 0

    def on_step(_: int) -> None:
        nonlocal done
        done += 1
        if done == kill_after:
            os.kill(os.getpid(), signal.SIGKILL)

    data = tiny_dataset()
    train(data, data.folds[-1], tiny_config(workspace), on_step=on_step).model.save(out)


def main() -> None:
    workspace, out = Path(sys.argv[1]), Path(sys.argv[2])
    for kill_after in [*map(int, sys.argv[3:]), None]:
        process = os.fork()
        if not process:
            child(workspace, out, kill_after)
            os._exit(0)
        print(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), flush=True)


if __name__ == "__main__":
    main()
