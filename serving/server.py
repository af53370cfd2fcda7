"""One model version behind KServe's model server: `python -m serving.server --help`.

The process says "ready" (`/v2/models/<name>/ready`) only after the version's signature and every
file's hash were verified, the model was loaded and warmed up. If any of that fails, or the features
that it reads are older than their limits, it ends with one clear message and exit code 1. SIGTERM:
no new connections; what is under way is answered.

`/v2/health/ready` is KServe's and says nothing about the model; probe the model's own.
"""

from __future__ import annotations

import argparse
import logging
import logging.config
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recommender.config.compute import ComputeConfig
from recommender.errors import UserError
from recommender.workspace import Workspace
from serving.freshness import limits_from_json, require_fresh
from serving.observing import Observing, Watch
from serving.telemetry.logs import JsonLines

if TYPE_CHECKING:
    from serving.predictor import Predictor

_GRACE_S = 20


def main(arguments: list[str] | None = None) -> None:
    """Serve one model version until SIGTERM."""
    given = _parser().parse_args(arguments)
    # KServe reads the command line at import and would take `--model` for one of its own.
    sys.argv = sys.argv[:1]
    # Pinned before NumPy and torch start their pools; see `Predictor.load`.
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(variable, "1")
    _configure_logging()
    try:
        limits = limits_from_json(given.freshness)
        require_fresh(Workspace(given.workspace.absolute()), given.project, limits)
        watch = Watch(Observing.from_json(given.observing), Workspace(given.workspace.absolute()))
        predictor = _predictor(given, watch)
        predictor.load()
    except UserError as error:
        raise SystemExit(f"serving {given.version or given.model}: {error}") from None
    from kserve.model_server import app

    from feature_repo.freshness import place_of
    from feature_repo.freshness_metrics import register
    from serving.kserve_server import BoundServer

    # Shown at /metrics with KServe's own, and worked out at every scrape.
    register(place_of(Workspace(given.workspace.absolute()), given.project), given.project, limits)

    watch.add_to(app, predictor.actions)
    server = BoundServer(
        host=given.host,
        http_port=given.port,
        grpc_port=given.grpc_port,
        grace_period=_GRACE_S,
    )
    try:
        server.start([predictor])
    finally:
        watch.close()


def _predictor(given: argparse.Namespace, watch: Watch) -> Predictor:
    from serving.history import StoreHistories
    from serving.items import StoreItems
    from serving.predictor import Predictor

    paths = Workspace(given.workspace.absolute())
    return Predictor(
        given.name,
        given.model.absolute(),
        given.version,
        paths.keys,
        StoreHistories(paths, given.project, given.read_deadline_s),
        given.read_deadline_s,
        watch=watch,
        items=StoreItems(paths, given.project),
        refresh_s=given.refresh_s,
        compute=ComputeConfig.model_validate_json(given.compute),
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m serving.server", description=main.__doc__)
    parser.add_argument("--model", type=Path, required=True, help="folder of a fetched version")
    parser.add_argument("--version", help="what that folder must turn out to be")
    parser.add_argument("--name", default="ostinato", help="of the model in URLs")
    parser.add_argument(
        "--workspace", type=Path, required=True, help="holds the feature store and the public key"
    )
    parser.add_argument("--project", required=True, help="Feast project that histories come from")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=8080, help="for HTTP")
    parser.add_argument("--grpc-port", type=int, help="for gRPC; without it there is none")
    parser.add_argument("--read-deadline-s", type=float, default=0.5, help="wait for a history")
    parser.add_argument("--refresh-s", type=float, default=60.0, help="look for new items")
    parser.add_argument("--compute", default="{}", help="limits as JSON (`serving.compute`)")
    parser.add_argument(
        "--freshness", default="{}", help="limits as JSON (`features.freshness`); default: none"
    )
    parser.add_argument(
        "--observing",
        default="{}",
        help="JSON of `exploration`, `log` and `feedback` of `serving`; default: none of them",
    )
    return parser


def _configure_logging() -> None:
    """Log what matters: KServe's own set-up logs several lines per request."""
    quiet = ("uvicorn.access", "kserve", "kserve.trace", "httpx")
    config: dict[str, Any] = {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": {"()": JsonLines}},
        "handlers": {"err": {"class": "logging.StreamHandler", "formatter": "line"}},
        "root": {"handlers": ["err"], "level": "INFO"},
        "loggers": {name: {"level": "WARNING"} for name in quiet},
    }
    logging.config.dictConfig(config)
    logging.captureWarnings(True)  # every line is JSON


if __name__ == "__main__":
    main()
