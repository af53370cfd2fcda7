"""A Kubernetes API server for InferenceServices, over real HTTP, that remembers what it was told.

It refuses stale versions (409), unknown fields (400, if asked to be strict; dropped in silence
otherwise, as the real one does), wrong types (422), what KServe's webhook denies (403) and whoever
has no valid token (401). A controller works on what it holds, in a thread of its own. Faults are
put in from outside: a status, a slow answer, a connection cut before or after the work was done.
"""

from __future__ import annotations

import copy
import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import yaml
from kserve_controller import Controller
from kserve_schema import denial, pruned, unknown_fields, wrong_types

SERVICES = "/apis/serving.kserve.io/v1beta1/namespaces/default/inferenceservices"
RUNTIMES = "/apis/serving.kserve.io/v1alpha1/namespaces/default/servingruntimes"
CONFIG_MAP = "/api/v1/namespaces/kserve/configmaps/inferenceservice-config"
DEPLOYMENT = "/apis/apps/v1/namespaces/kserve/deployments/kserve-controller-manager"
CRD = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/inferenceservices.serving.kserve.io"
KINDS = {SERVICES: "V1beta1InferenceService", RUNTIMES: "V1alpha1ServingRuntime"}
TOKEN = "valid"


@dataclass
class Fault:
    """Something that goes wrong with the next requests.

    Attributes:
        times: with how many of them.
        methods: which are meant.
        status: answered instead of doing the work; 0 to do it.
        headers: of that answer.
        cut: "before" or "after" the work the connection is cut.
        delay_s: before the answer.
        stale: whether somebody else changes the object just before a patch.
    """

    times: int = 1
    methods: tuple[str, ...] = ("GET", "POST", "PATCH")
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    cut: str = ""
    delay_s: float = 0.0
    stale: bool = False


class FakeKubernetes:
    """An API server; a context manager.

    Attributes:
        objects: by path.
        controller: of the InferenceServices; None for none at all.
        faults: still to come.
        requests: what was asked and answered: method, path, status.
        patches: bodies of the patches that were asked for.
    """

    def __init__(self, **installed: Any) -> None:
        self.objects: dict[str, dict[str, Any]] = {}
        self.controller: Controller | None = Controller()
        self.faults: list[Fault] = []
        self.requests: list[tuple[str, str, int]] = []
        self.patches: list[dict[str, Any]] = []
        self.forbidden: Callable[[str, str], bool] = lambda method, path: False
        self.token = TOKEN
        self.lock = threading.RLock()
        self._version = 0
        self._stop = threading.Event()
        self.install(**installed)

    def install(
        self, mode: str = "Standard", version: str = "v0.21.0", gateway: bool = True
    ) -> None:
        """Install KServe: its configuration, its controller and its CRD."""
        deploy, ingress = {"defaultDeploymentMode": mode}, {"enableGatewayApi": gateway}
        data = {"deploy": json.dumps(deploy), "ingress": json.dumps(ingress), "odd": "not JSON"}
        self.put(CONFIG_MAP, {"metadata": {}, "data": data})
        image = f"registry.example.com:5000/kserve/kserve-controller:{version}@sha256:{'0' * 64}"
        containers = [{"name": "proxy", "image": "proxy:v9.9"}, {"name": "manager", "image": image}]
        pods = {"spec": {"containers": containers}}
        self.put(DEPLOYMENT, {"metadata": {}, "spec": {"template": pods}})
        fields = {"properties": {"spec": {"properties": {"predictor": {}, "canary": {}}}}}
        versions = [{"name": "v1beta1", "schema": {"openAPIV3Schema": fields}}]
        self.put(CRD, {"metadata": {}, "spec": {"versions": versions}})

    def put(self, path: str, value: dict[str, Any]) -> None:
        """Write an object past every check, as somebody else."""
        with self.lock:
            self._version += 1
            stored = copy.deepcopy(value)
            stored["metadata"]["resourceVersion"] = str(self._version)
            self.objects[path] = stored

    def service(self, name: str) -> dict[str, Any]:
        """Return a copy of an InferenceService."""
        with self.lock:
            return copy.deepcopy(self.objects[f"{SERVICES}/{name}"])

    def kubeconfig(self, path: Path, token: str = TOKEN) -> str:
        """Write a kubeconfig that leads here, and return its path."""
        told = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "fake",
            "contexts": [{"name": "fake", "context": {"cluster": "fake", "user": "me"}}],
            "clusters": [{"name": "fake", "cluster": {"server": self.url}}],
            "users": [{"name": "me", "user": {"token": token}}],
        }
        path.write_text(yaml.safe_dump(told))
        return str(path)

    @property
    def url(self) -> str:
        """Base URL."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> FakeKubernetes:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        serve = {"poll_interval": 0.01}
        threading.Thread(target=self._server.serve_forever, kwargs=serve, daemon=True).start()
        self._works = threading.Thread(target=self._reconcile, daemon=True)
        self._works.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._works.join()
        self._server.shutdown()
        self._server.server_close()

    def handle(
        self, method: str, path: str, strict: bool, body: dict[str, Any] | None
    ) -> tuple[int, dict[str, Any]]:
        """Do what is asked for and return status and answer."""
        with self.lock:
            if self.forbidden(method, path):
                return _status(403, "Forbidden", f"cannot {method.lower()} {path}")
            if method == "GET":
                there = self.objects.get(path)
                return (200, there) if there else _status(404, "NotFound", f"{path} not found")
            assert body is not None
            if method == "POST":
                path = f"{path}/{body['metadata']['name']}"
                if path in self.objects:
                    return _status(409, "AlreadyExists", f"{path} already exists")
                return self._store(path, body, None, strict)
            before = self.objects.get(path)
            if before is None:
                return _status(404, "NotFound", f"{path} not found")
            self.patches.append(body)
            asked = body.get("metadata", {}).get("resourceVersion")
            if asked is not None and asked != before["metadata"]["resourceVersion"]:
                return _status(409, "Conflict", "the object has been modified")
            return self._store(path, _merge(before, body), before, strict)

    def _store(
        self, path: str, after: dict[str, Any], before: dict[str, Any] | None, strict: bool
    ) -> tuple[int, dict[str, Any]]:
        kind = KINDS[path.rpartition("/")[0]]
        unknown = unknown_fields(after, kind)
        if unknown and strict:
            named = ", ".join(f'unknown field "{name}"' for name in unknown)
            return _status(400, "BadRequest", f"strict decoding error: {named}")
        after = pruned(after, kind)
        if wrong := wrong_types(after, kind):
            return _status(422, "Invalid", f"{', '.join(wrong)}: Invalid value")
        if kind == "V1beta1InferenceService" and (why := denial(after, before)):
            hook = "inferenceservice.kserve-webhook-server.validator"
            told = f'admission webhook "{hook}" denied the request: {why}'
            return _status(403, "Forbidden", told)
        if before == after:
            return 200, after
        self.put(path, after)
        return (200 if before else 201), self.objects[path]

    def fault(self, method: str) -> Fault | None:
        """Return the fault that the next request meets, if any."""
        with self.lock:
            for fault in self.faults:
                if fault.times > 0 and method in fault.methods:
                    fault.times -= 1
                    return fault
        return None

    def disturb(self, path: str) -> None:
        """Change an object as somebody else would."""
        with self.lock:
            other = copy.deepcopy(self.objects[path])
            noted = other["metadata"].setdefault("annotations", {})
            noted["example.com/somebody-else"] = str(self._version)
            self.put(path, other)

    def reconcile(self) -> None:
        """Let the controller look once at every InferenceService."""
        with self.lock:
            for path, there in list(self.objects.items()):
                if not path.startswith(SERVICES) or self.controller is None:
                    continue
                status = self.controller.step(copy.deepcopy(there))
                if status is not None and status != there.get("status"):
                    self.put(path, {**there, "status": status})

    def _reconcile(self) -> None:
        while not self._stop.wait(0.002):
            self.reconcile()


def _merge(target: Any, patch: Any) -> Any:
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    merged = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = _merge(merged.get(key), value)
    return merged


def _status(code: int, reason: str, message: str) -> tuple[int, dict[str, Any]]:
    return code, {"kind": "Status", "code": code, "reason": reason, "message": message}


def _handler(fake: FakeKubernetes) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do(self) -> None:
            url, method = urlsplit(self.path), self.command
            length = int(self.headers.get("Content-Length", 0))
            body = json.loads(self.rfile.read(length)) if length else None
            fault = fake.fault(method) or Fault()
            if fault.cut == "before":
                return self.cut()
            if fault.status:
                told = _status(fault.status, "Trouble", "something is wrong")
                return self.answer(url.path, *told, fault.headers)
            if self.headers.get("Authorization") != f"Bearer {fake.token}":
                return self.answer(url.path, *_status(401, "Unauthorized", "Unauthorized"))
            kind = self.headers.get("Content-Type")
            if method == "PATCH" and kind != "application/merge-patch+json":
                return self.answer(url.path, *_status(415, "UnsupportedMediaType", str(kind)))
            if fault.stale and method == "PATCH":
                fake.disturb(url.path)
            strict = parse_qs(url.query).get("fieldValidation") == ["Strict"]
            answered = fake.handle(method, url.path, strict, body)
            if fault.cut == "after":
                return self.cut()
            time.sleep(fault.delay_s)
            return self.answer(url.path, *answered)

        def answer(
            self, path: str, code: int, value: dict[str, Any], headers: dict[str, str] | None = None
        ) -> None:
            with fake.lock:
                fake.requests.append((self.command, path, code))
                content = json.dumps(value).encode()
            self.send_response(code)
            for name, text in {"Content-Length": str(len(content)), **(headers or {})}.items():
                self.send_header(name, text)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(content)

        def cut(self) -> None:
            self.close_connection = True
            self.connection.close()

        do_GET = do_POST = do_PATCH = do_DELETE = do

        def log_message(self, *_: object) -> None:
            """Say nothing."""

        def handle(self) -> None:
            try:
                super().handle()
            except (OSError, ValueError):
                return  # the client has gone, or we have cut it off

    return Handler
