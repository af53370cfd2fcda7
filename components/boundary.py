"""The edge between a pipeline step and the domain: configuration in, one clear message out.

Every step runs inside `running`, which reads the configuration, measures the step, records how
it went in `<workspace>/runs/<run>/steps/<step>.json` and turns a `UserError` into one message
without a stack trace.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from recommender import progress
from recommender.config import Config
from recommender.errors import UserError
from recommender.files import read_json, write_json


@dataclass
class Step:
    """A step that is running.

    Attributes:
        name: of the step, as in the pipeline.
        config: the whole configuration.
        folder: of this run's reports (`<workspace>/runs/<run>`).
        summary: figures for people and for the end of the run; plain JSON values.
    """

    name: str
    config: Config
    folder: Path
    summary: dict[str, Any] = field(default_factory=dict)


@contextmanager
def running(name: str, config: str, run_id: str) -> Iterator[Step]:
    """Run one step: yield it, then record what it took and how it ended.

    Args:
        name: of the step.
        config: the configuration as `Config.to_json` wrote it.
        run_id: of the pipeline run.

    Raises:
        SystemExit: with the message of a `UserError`; the process ends without a stack trace.
    """
    if "[[" in run_id:
        raise SystemExit(
            f"{name}: this backend does not fill in {run_id!r} for recurring runs\n"
            "  → let a CronJob call `ostinato submit` instead of `ostinato schedule apply`"
        )
    started, cpu = time.time(), time.process_time()
    tree = Config.from_json(config)
    step = Step(name, tree, tree.paths.run(run_id))
    step.folder.mkdir(parents=True, exist_ok=True)
    record_path = step.folder / "steps" / f"{name}.json"
    _stop_if_already_hopeless(name, record_path)
    progress.announce(name)

    def record(status: str, **more: str | bool) -> None:
        usage = resource.getrusage(resource.RUSAGE_SELF)
        write_json(
            record_path,
            {
                "step": name,
                "status": status,
                "started": started,
                "seconds": round(time.time() - started, 3),
                "cpu_seconds": round(time.process_time() - cpu, 3),
                "peak_memory_mb": round(usage.ru_maxrss / 1024, 1),
                "summary": step.summary,
                **more,
            },
        )

    try:
        yield step
    except UserError as error:
        record("failed", error=error.message, hint=error.hint, passing=error.passing)
        raise SystemExit(f"{name}: {error}") from None
    except KeyboardInterrupt:
        record("interrupted")
        raise SystemExit(f"{name}: interrupted; run the same command again to go on") from None
    except BaseException as error:
        record("crashed", error=f"{type(error).__name__}: {error}")
        raise
    record("succeeded")


def _stop_if_already_hopeless(name: str, record: Path) -> None:
    """Refuse a retry of this step where trying again can't help: the input itself is wrong."""
    if not record.exists():
        return
    earlier = read_json(record)
    if earlier["status"] == "failed" and not earlier["passing"]:
        raise SystemExit(f"{name}: {earlier['error']}\n  → {earlier['hint']}")
