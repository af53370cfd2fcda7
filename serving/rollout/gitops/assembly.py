"""Puts the target together from the configuration."""

from __future__ import annotations

from typing import Any

from recommender.config import Config
from recommender.errors import ConfigError
from recommender.registry import Registry
from serving.rollout.gitops.arms import Patience
from serving.rollout.gitops.commits import Identity
from serving.rollout.gitops.folder import Folder
from serving.rollout.gitops.git import Git
from serving.rollout.gitops.github import GitHub
from serving.rollout.gitops.observers import ClusterObserver, Observer, Unobserved
from serving.rollout.gitops.pull_requests import Forge, NoForge, Proposals
from serving.rollout.gitops.repository import Repository
from serving.rollout.gitops.shares import Model
from serving.rollout.gitops.target import GitOpsTarget


def assembled(config: Config, registry: Registry) -> GitOpsTarget:
    """Return the target of a data set.

    Args:
        config: the whole configuration.
        registry: that says where a version lies.

    Raises:
        ConfigError: the repository isn't configured, or a token is missing.
        ServingError: the cluster is to be watched, and there is no way to it.
    """
    settings, kserve = config.rollout.targets.gitops, config.rollout.targets.kserve
    if not settings.repository:
        raise ConfigError(
            "rollout.target is gitops, and rollout.targets.gitops.repository is empty",
            "give the URL or the path of the repository that the controller follows",
        )
    name = kserve.name or config.serving.name
    git = Git(settings.repository, settings.token_env, settings.token_user, settings.git_timeout_s)
    owned = f"{settings.path}/{settings.component}"
    repository = Repository(
        git,
        settings.branch,
        config.paths.serving / "gitops.git",
        Identity(settings.author_name, settings.author_email),
        owned,
        settings.attempts,
    )

    def model_of(version: str) -> Model:
        uri = registry.uri(version)
        if uri.startswith("file://") and settings.observe == "cluster":
            raise ConfigError(
                f"a cluster can't load {uri}", "keep the registry in S3 for a rollout by Git"
            )
        return Model(version, uri, f"{name}-{version}")

    def runtime(model: Model) -> dict[str, Any]:
        from feature_repo.locations import project_name
        from serving.inference_service import manifests

        project = project_name(config, "live")
        documents = manifests(config, model.version, model.storage_uri, project, settings.image)
        return {**documents[0], "metadata": {**documents[0]["metadata"], "name": model.runtime}}

    folder = Folder(
        repository,
        settings.path,
        settings.component,
        name,
        settings.canary_min_replicas,
        runtime if settings.image else None,
    )
    observer: Observer = Unobserved()
    if settings.observe == "cluster":
        observer = ClusterObserver.of(kserve, name)
    proposals = None
    if settings.mode == "pull_request":
        forge: Forge = GitHub.of(settings) if settings.forge == "github" else NoForge()
        proposals = Proposals(folder, forge, settings.merge_timeout_s, settings.poll_s)
    patience = Patience(settings.timeout_s, settings.poll_s, kserve.unready_s)
    return GitOpsTarget(folder, model_of, observer, patience, proposals)
