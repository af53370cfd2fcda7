"""Print a Job that does one thing in an environment, once, with the image and rights of a step.

    python infra/kustomize/once.py prod keys | kubectl create -f -
    python infra/kustomize/once.py prod publish | kubectl create -f -

`keys` makes the pair of keys that models are signed with, and prints the public one into its log.
`publish` publishes live features again; `--data` names the accepted data version before the last.
The configuration is the overlay's. Needs Python and PyYAML only.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import yaml

OVERLAYS = Path(__file__).parent / "overlays"
_VERSION = "0.1.0"  # of a developer's build, which has no digests
# What it does, by whose image and network, and what that is asked to run.
_DOING = {
    "keys": ("register", "recommender.registry.make_keys"),
    "publish": ("materialize", "feature_repo.publish_live"),
}
_MEMORY = {"keys": "1Gi", "publish": "16Gi"}
_SECRETS = {
    "OSTINATO_REDIS": ("ostinato-stores", "redis"),
    "OSTINATO_REGISTRY": ("ostinato-stores", "registry"),
    "RAY_AUTH_TOKEN": ("ostinato-ray", "token"),
    "AWS_ACCESS_KEY_ID": ("stores", "minio-user"),
    "AWS_SECRET_ACCESS_KEY": ("stores", "minio-password"),
}


def job(what: str, text: str, data: str = "") -> dict[str, Any]:
    """Return the Job.

    Args:
        what: `keys` or `publish`.
        text: of the overlay's `config.yaml`.
        data: data version for `publish`; empty: the last accepted one.
    """
    step, module = _DOING[what]
    config = yaml.safe_load(text)
    backend = config.get("backend") or {}
    name = f"ostinato-{step}"
    image = (backend.get("images") or {}).get(name, f"{name}:{_VERSION}")
    container = {
        "name": what,
        "image": image,
        "command": ["python3", "-m", module],
        "args": [text, *([data] if data else [])],
        "envFrom": [{"configMapRef": {"name": "ostinato-steps", "optional": True}}],
        "env": [
            {
                "name": variable,
                "valueFrom": {"secretKeyRef": {"name": secret, "key": key, "optional": True}},
            }
            for variable, (secret, key) in _SECRETS.items()
        ],
        "resources": {
            "requests": {"cpu": "1", "memory": _MEMORY[what]},
            "limits": {"cpu": "2", "memory": _MEMORY[what]},
        },
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [
            {"name": "workspace", "mountPath": "/var/lib/ostinato"},
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 the pod's own
        ],
    }
    # Networks, and with accounts-per-step the account, go by the labels of a run's pods.
    labels = {"pipelines.kubeflow.org/v2_component": "true", "ostinato.example/step": step}
    pod = {
        "restartPolicy": "Never",
        "serviceAccountName": backend.get("service_account") or "default",
        "automountServiceAccountToken": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 65532,
            "runAsGroup": 65532,
            "fsGroup": 65532,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
        "volumes": [
            {
                "name": "workspace",
                "persistentVolumeClaim": {"claimName": f"{config['name']}-workspace"},
            },
            {"name": "tmp", "emptyDir": {"sizeLimit": "2Gi"}},
        ],
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "generateName": f"{what}-",
            "namespace": backend.get("namespace") or "ostinato",
        },
        "spec": {
            "backoffLimit": 1,
            "activeDeadlineSeconds": 14400,
            "ttlSecondsAfterFinished": 604800,
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    }


def main(arguments: list[str] | None = None) -> int:
    """Print the Job; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("environment")
    parser.add_argument("what", choices=sorted(_DOING))
    parser.add_argument("--data", default="", help="for publish: an accepted data version")
    options = parser.parse_args(arguments)
    path = OVERLAYS / options.environment / "config.yaml"
    if not path.is_file():
        sys.stderr.write(f"there is no {path}\n")
        return 2
    made = job(options.what, path.read_text(encoding="utf-8"), options.data)
    print(yaml.safe_dump(made, sort_keys=False, width=100), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
