"""A server that answers as the v2beta1 REST API of Kubeflow Pipelines does, and remembers.

Every payload must fit the models of `kfp-server-api`, unknown fields and wrong types refused.
Faults are laid in by `broken`: what the next calls of a path get instead of an answer.
"""

from __future__ import annotations

import itertools
import json
import threading
import time
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from typing import Any

import kfp_server_api
import uvicorn
import yaml
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

BASE = "/apis/v2beta1"
CLIENT = kfp_server_api.ApiClient()


class RefusedError(Exception):
    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def checked(body: Any, model: str) -> dict[str, Any]:
    """Refuse what the real server's models don't have, at any depth."""
    cls = getattr(kfp_server_api, model)
    known = {json_name: cls.openapi_types[name] for name, json_name in cls.attribute_map.items()}
    if not isinstance(body, dict):
        raise RefusedError(400, f"{model}: not an object")
    for key, value in body.items():
        if key not in known:
            raise RefusedError(400, f"{model}: unknown field {key!r}")
        inner = known[key]
        if inner.startswith("V2beta1") and getattr(kfp_server_api, inner).openapi_types:
            checked(value, inner)
        # The API's 64-bit numbers are text to the model, and either on the wire.
        elif inner == "str" and not isinstance(value, str) and key != "max_concurrency":
            raise RefusedError(400, f"{model}.{key}: {value!r} is no string")
        elif inner == "bool" and not isinstance(value, bool):
            raise RefusedError(400, f"{model}.{key}: {value!r} is no bool")
    return body


class KfpServer:
    """The state, and the server in a thread.

    Attributes:
        token: that every call must bear; None: any.
        broken: faults by `METHOD path-suffix`: each call takes the first and gets that status;
            "lost" does the work and then closes the connection without an answer.
        calls: methods and paths that were called.
        specs: what was uploaded, by the version's id.
    """

    def __init__(self) -> None:
        self.token: str | None = None
        self.broken: dict[str, list[int | str]] = defaultdict(list)
        self.calls: list[str] = []
        self.experiments: dict[str, dict[str, Any]] = {}
        self.pipelines: dict[str, dict[str, Any]] = {}
        self.versions: dict[str, dict[str, Any]] = {}
        self.specs: dict[str, dict[str, Any]] = {}
        self.runs: dict[str, dict[str, Any]] = {}
        self.recurring: dict[str, dict[str, Any]] = {}
        self._ids = itertools.count(1)
        self._clock = datetime(2026, 1, 1, tzinfo=UTC)
        routes = [
            ("/healthz", "GET", self._healthz),
            ("/experiments", "GET", lambda r: self._listed(r, self.experiments, "experiments")),
            ("/experiments", "POST", self._new_experiment),
            ("/pipelines", "GET", lambda r: self._listed(r, self.pipelines, "pipelines")),
            ("/pipelines/upload", "POST", self._upload),
            ("/pipelines/upload_version", "POST", self._upload_version),
            (
                "/pipelines/{id}/versions",
                "GET",
                lambda r: self._listed(r, self.versions, "pipeline_versions", "pipeline_id"),
            ),
            ("/runs", "GET", lambda r: self._listed(r, self.runs, "runs")),
            ("/runs", "POST", self._new_run),
            ("/runs/{id}", "GET", lambda r: self._one(r, self.runs)),
            ("/runs/{id}:terminate", "POST", self._terminate),
            ("/recurringruns", "GET", lambda r: self._listed(r, self.recurring, "recurringRuns")),
            ("/recurringruns", "POST", self._new_recurring),
            ("/recurringruns/{id}", "DELETE", self._delete_recurring),
        ]
        app = Starlette(
            routes=[
                Route(BASE + path, self._guarded(handle), methods=[method])
                for path, method, handle in routes
            ]
        )
        config = uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error", lifespan="off")
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, daemon=True)

    def __enter__(self) -> KfpServer:
        self._thread.start()
        while not self._server.started:
            time.sleep(0.01)
        port = self._server.servers[0].sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join(10)

    def _guarded(self, handle: Any) -> Any:
        async def answer(request: Request) -> JSONResponse:
            path = request.url.path.removeprefix(BASE)
            self.calls.append(f"{request.method} {path}")
            if self.token and request.headers.get("authorization") != f"Bearer {self.token}":
                return JSONResponse({"code": 16, "message": "token is not valid"}, 401)
            faults = self.broken.get(f"{request.method} {path}") or []
            fault = faults.pop(0) if faults else None
            if isinstance(fault, int):
                return JSONResponse({"code": 2, "message": f"fault {fault}"}, fault)
            try:
                result = await handle(request)
            except RefusedError as error:
                return JSONResponse({"code": 3, "message": str(error)}, error.status)
            if fault == "lost":
                return JSONResponse({"message": "upstream connection reset"}, 502)
            return JSONResponse(result)

        return answer

    def _new(self, kind: str) -> tuple[str, str]:
        number = next(self._ids)
        self._clock += timedelta(seconds=1)
        return f"{kind}-{number}", self._clock.isoformat().replace("+00:00", "Z")

    async def _healthz(self, _: Request) -> Any:
        return {"multi_user": False}

    async def _listed(
        self, request: Request, things: dict[str, Any], field: str, parent: str = ""
    ) -> Any:
        chosen = list(things.values())
        if parent:
            chosen = [t for t in chosen if t[parent] == request.path_params["id"]]
        if experiment := request.query_params.get("experiment_id"):
            chosen = [t for t in chosen if t.get("experiment_id") == experiment]
        if told := request.query_params.get("filter"):
            for predicate in json.loads(told)["predicates"]:
                assert predicate["operation"] in (1, "EQUALS")  # by number or name, as in protobuf
                wanted = predicate["stringValue"]
                chosen = [t for t in chosen if t[predicate["key"]] == wanted]
        # Small pages whatever was asked for, so that whoever doesn't turn them is found out.
        start = int(request.query_params.get("page_token") or 0)
        page = chosen[start : start + 2]
        return {field: page} | (
            {"next_page_token": str(start + 2)} if start + 2 < len(chosen) else {}
        )

    async def _one(self, request: Request, things: dict[str, Any]) -> Any:
        try:
            return things[request.path_params["id"]]
        except KeyError:
            raise RefusedError(404, f"{request.path_params['id']} not found") from None

    async def _new_experiment(self, request: Request) -> Any:
        body = checked(await request.json(), "V2beta1Experiment")
        if any(e["display_name"] == body["display_name"] for e in self.experiments.values()):
            raise RefusedError(409, "already exists")
        key, now = self._new("experiment")
        self.experiments[key] = {**body, "experiment_id": key, "created_at": now}
        return self.experiments[key]

    async def _package(self, request: Request) -> tuple[str, dict[str, Any]]:
        form = await request.form()
        spec = next(iter(yaml.safe_load_all(await form["uploadfile"].read())))
        if "pipelineInfo" not in spec:
            raise RefusedError(400, "not a compiled pipeline")
        return request.query_params["name"], spec

    async def _upload(self, request: Request) -> Any:
        name, _ = await self._package(request)
        if any(p["display_name"] == name for p in self.pipelines.values()):
            raise RefusedError(409, "already exists")
        key, now = self._new("pipeline")
        self.pipelines[key] = {"pipeline_id": key, "display_name": name, "created_at": now}
        return self.pipelines[key]

    async def _upload_version(self, request: Request) -> Any:
        name, spec = await self._package(request)
        pipeline = request.query_params["pipelineid"]
        if pipeline not in self.pipelines:
            raise RefusedError(404, f"{pipeline} not found")
        if any(v["display_name"] == name for v in self.versions.values()):
            raise RefusedError(409, "already exists")
        key, now = self._new("version")
        self.versions[key] = {
            "pipeline_id": pipeline,
            "pipeline_version_id": key,
            "display_name": name,
            "created_at": now,
        }
        self.specs[key] = spec
        return self.versions[key]

    def _referenced(self, body: dict[str, Any]) -> None:
        reference = body["pipeline_version_reference"]
        version = self.versions.get(reference["pipeline_version_id"])
        if version is None or version["pipeline_id"] != reference["pipeline_id"]:
            raise RefusedError(400, "no such pipeline version")
        if body["experiment_id"] not in self.experiments:
            raise RefusedError(400, "no such experiment")

    async def _new_run(self, request: Request) -> Any:
        body = checked(await request.json(), "V2beta1Run")
        self._referenced(body)
        key, now = self._new("run")
        self.runs[key] = {**body, "run_id": key, "created_at": now, "state": "PENDING"}
        return self.runs[key]

    async def _terminate(self, request: Request) -> Any:
        run = await self._one(request, self.runs)
        run["state"] = "CANCELED"
        return {}

    async def _new_recurring(self, request: Request) -> Any:
        body = checked(await request.json(), "V2beta1RecurringRun")
        self._referenced(body)
        key, now = self._new("recurring")
        status = "ENABLED" if body["mode"] == "ENABLE" else "DISABLED"
        told = {"recurring_run_id": key, "created_at": now, "status": status}
        self.recurring[key] = {**body, **told}
        return self.recurring[key]

    async def _delete_recurring(self, request: Request) -> Any:
        await self._one(request, self.recurring)
        del self.recurring[request.path_params["id"]]
        return {}
