"""The served endpoint of a data set on this machine: ask it, start it, look at it, stop it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import httpx

from feature_repo.locations import project_name
from recommender.config import Config
from recommender.errors import ServingError
from recommender.registry import Registry
from serving import launch, processes, routes
from serving.processes import Server
from serving.routes import LANES, LIVE, Arm

_TIMEOUT_S = 30.0


def ensure_router(config: Config) -> str:
    """Start the router unless it runs, and return the endpoint's base URL.

    Raises:
        ServingError: it did not become ready.
    """
    return launch.router(config).url


def serve(config: Config) -> str:
    """Serve the champion on the live features, after a reboot say, and return the base URL.

    What runs already stays as it is.

    Raises:
        ServingError: there is no champion yet, or a server did not become ready.
        ArtifactError: the champion was tampered with.
    """
    registry = Registry.configured(config)
    champion = registry.champion()
    if champion is None:
        raise ServingError(
            f"{config.name} has no champion yet, so there is nothing to serve",
            "`ostinato run` trains one and lets it win its place",
        )
    folder = registry.fetch(champion)
    server = launch.model_server(config, folder, champion, project_name(config, "live"))
    file = launch.routes_path(config.paths)
    urls = {running.url for running in processes.running(config.paths)}
    before = routes.read(file)
    # A rollout that is under way keeps its arms; those of one that died with the machine go.
    rehearsal = [arm for arm in before.rehearsal if arm.url in urls]
    if not any(arm.weight > 0 for arm in rehearsal):
        rehearsal = []
    live = [Arm(server.url, champion)]
    routes.write(file, before.with_lane(routes.REHEARSAL, rehearsal).with_lane(LIVE, live))
    return ensure_router(config)


def ask(
    config: Config,
    user_id: str | None,
    k: int = 10,
    *,
    exclude: Sequence[str] = (),
    candidates: Sequence[str] = (),
    categories: Sequence[str] = (),
    surface: str | None = None,
    history: Sequence[dict[str, Any]] | None = None,
    time: int | None = None,
    lane: str = LIVE,
    explain: bool = False,
) -> dict[str, Any]:
    """Ask the endpoint for recommendations.

    Args:
        config: of the data set.
        user_id: whose history is read; None with an explicit history.
        k: how many items.
        exclude: item ids that shall not be recommended.
        candidates: item ids to put in order, instead of recommending from all.
        categories: only items in any of these; none given: all.
        surface: where the list is shown.
        history: events (`item_id`, `action`, `time`, `value`) to use instead of the store's.
        time: moment of asking, UTC milliseconds; None: now.
        lane: `live` or `rehearsal`.
        explain: whether each item comes with its reasons.

    Returns:
        `items` (`item_id`, `title`, `score`, `tasks`, `values`; the best first), `model_version`,
        `request_id`, `history`, `dropped`, `fallback`, `basis`, and `user_id` if one was given;
        docs/serving.md tells of all.

    Raises:
        ServingError: nothing is served, or the request was refused.
    """
    given: dict[str, Any] = {"user_id": user_id, "k": k, "exclude": list(exclude) or None}
    given |= {"candidates": list(candidates) or None, "categories": list(categories) or None}
    given |= {
        "surface": surface,
        "history": None if history is None else list(history),
        "time": time,
        # Whoever asks from here looks at what is served, and shows it to nobody.
        "explore": False,
        "record": False,
    }
    instance = {key: value for key, value in given.items() if value is not None}
    verb = "explain" if explain else "predict"
    url = f"{_url(config)}/v1/models/{config.serving.name}:{verb}"
    try:
        answer = httpx.post(
            url,
            json={"instances": [instance]},
            headers={"x-ostinato-lane": lane},
            timeout=_TIMEOUT_S,
            trust_env=False,
        )
        told = answer.json()
    except (httpx.TransportError, ValueError) as error:
        raise ServingError(f"{url} does not answer: {error}", _how(config)) from error
    if answer.status_code != 200:
        reason = told.get("error", told) if isinstance(told, dict) else told
        hint = _how(config) if answer.status_code in (502, 503) else ""
        raise ServingError(f"the endpoint refused the request: {reason}", hint)
    prediction: dict[str, Any] = told["explanations" if explain else "predictions"][0]
    return prediction


def status(config: Config) -> dict[str, Any]:
    """Return what serves: the URL, both lanes with each arm's readiness, the processes."""
    servers = processes.running(config.paths)
    file = launch.routes_path(config.paths)
    now = routes.read(file)
    path = f"/v2/models/{config.serving.name}/ready"
    lanes = {
        lane: [
            {
                "version": arm.version,
                "weight": arm.weight,
                "url": arm.url,
                "ready": launch.answers(arm.url + path),
            }
            for arm in now.lane(lane)
        ]
        for lane in LANES
    }
    router = _router(servers)
    return {
        "url": router.url if router else None,
        "lanes": lanes,
        "servers": [
            {key: value for key, value in vars(server).items() if key != "token"}
            for server in servers
        ],
    }


def stop(config: Config) -> tuple[Server, ...]:
    """Stop the router and every model server of this data set; return what was stopped.

    The routes stay, so that `serve` and `status` can tell what was there.
    """
    return processes.stop_all(config.paths)


def _url(config: Config) -> str:
    router = _router(processes.running(config.paths))
    if router is None:
        raise ServingError(f"nothing is served for {config.name}", _how(config))
    return router.url


def _router(servers: Sequence[Server]) -> Server | None:
    return next((server for server in servers if server.kind == "router"), None)


def _how(config: Config) -> str:
    """Return the command that helps."""
    champion = Registry.configured(config).champion()
    if champion is None:
        return "nothing was promoted yet: `ostinato run` trains a model and deploys it"
    return f"`ostinato serve` starts the champion {champion} again"
