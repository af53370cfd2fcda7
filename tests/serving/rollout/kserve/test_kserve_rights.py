"""The rights that the documentation lists are those that a rollout needs: all, and no others."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from fake_kubernetes import FakeKubernetes
from kserve_world import GOOD, KServeWorld

from serving.rollout.state import Phase

DOCUMENT = Path(__file__).parents[4] / "docs" / "rollout-kserve.md"
VERBS = {"GET": "get", "POST": "create", "PATCH": "patch"}
PATH = re.compile(
    r"/apis?/(?:(?P<group>[^/]+)/)?v\w+(?:/namespaces/(?P<namespace>[^/]+))?"
    r"/(?P<plural>[^/]+)(?:/(?P<name>[^/]+))?"
)


def rights() -> list[tuple[str, str, str, str]]:
    """Return what is allowed: namespace, group, plural, verb."""
    block = re.search(r"```yaml\n(apiVersion: rbac.*?)```", DOCUMENT.read_text(), re.DOTALL)
    assert block
    roles: list[dict[str, Any]] = list(yaml.safe_load_all(block[1]))
    return [
        (role["metadata"].get("namespace", ""), group, plural, verb)
        for role in roles
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for plural in rule["resources"]
        for verb in rule["verbs"]
    ]


def needed(method: str, path: str) -> tuple[str, str, str, str]:
    """Return the right that a request needs."""
    match = PATH.fullmatch(path)
    assert match, path
    namespace = match["namespace"] or ""
    return namespace, match["group"] or "", match["plural"], VERBS[method]


@pytest.mark.parametrize("mode", ["Standard", "Knative"])
def test_a_whole_rollout_needs_the_documented_rights_and_no_others(
    tmp_path: Path, mode: str
) -> None:
    allowed = set(rights())
    with FakeKubernetes(mode=mode) as api:
        api.forbidden = lambda method, path: needed(method, path) not in allowed
        world = KServeWorld(api, tmp_path)
        world.serve()
        assert world.start(GOOD).phase is Phase.PROMOTED
        used = {needed(method, path) for method, path, _ in api.requests}
    crd = ("", "apiextensions.k8s.io", "customresourcedefinitions", "get")
    assert used == allowed - ({crd} if mode == "Knative" else set())
