"""A Git repository that a controller (Argo CD, Flux) follows, as the place of a rollout."""

from __future__ import annotations

import re
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from recommender.config.section import Section

_LOOPBACK = re.compile(r"^http://(localhost|127\.0\.0\.1|\[::1\])(:\d+)?(/|$)")
_SCHEMES = ("https://", "http://", "ssh://", "git://", "file://")


class GitOpsTargetConfig(Section):
    """A Git repository that a controller (Argo CD, Flux) follows."""

    repository: str = ""
    """URL or path of the repository, without any password in it; required where `rollout.target`
    is `gitops`."""

    branch: str = Field("main", pattern=r"^[A-Za-z0-9_][A-Za-z0-9._/-]*$")
    """Branch that the controller follows."""

    path: str = "."
    """Folder in the repository that holds people's `kustomization.yaml`, which names the component
    below."""

    component: str = Field("rollout", pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")
    """Folder in `path` that is the bot's own; it writes nowhere else."""

    author_name: str = Field("ostinato", pattern=r"^[^<>\n]+$")
    """Author of the commits."""

    author_email: str = Field("ostinato@localhost", pattern=r"^[^<>\s]+@[^<>\s]+$")
    """E-mail address of the author."""

    mode: Literal["commit", "pull_request"] = "commit"
    """How a rollout starts: by a commit on the branch, or by a pull request that a person merges;
    the steps that follow are commits."""

    forge: Literal["none", "github"] = "none"
    """Who opens the pull request. `none`: a branch `ostinato/rollout-<id>` is pushed, which people
    merge with Git (or delete, which declines it)."""

    forge_url: str = Field("https://api.github.com", pattern=r"^https?://\S+$")
    """Base URL of the forge's API; GitHub Enterprise: `https://<host>/api/v3`."""

    forge_repository: str = Field("", pattern=r"^([\w.-]+/[\w.-]+)?$")
    """`owner/name` on the forge; empty: the end of the repository's URL."""

    merge_timeout_s: float = Field(86_400.0, gt=0)
    """Longest wait for the pull request to be merged; then the rollout is taken back, and the
    candidate may try again."""

    token_env: str = Field("", pattern=r"^([A-Za-z_][A-Za-z0-9_]*)?$")
    """Name of the environment variable that holds the token, for Git over HTTPS and for the forge;
    the token itself is in no config, URL, argument or log. Empty: Git's own credential helpers or
    SSH keys."""

    token_user: str = Field("x-access-token", pattern=r"^[^:\s]+$")
    """User name that goes with the token."""

    image: str = ""
    """Image of the model server by digest (`name@sha256:…`): the bot writes a ServingRuntime for
    each version that is served. Empty: people commit the runtimes, named `<service>-<version>`."""

    canary_min_replicas: int = Field(1, ge=1)
    """Replicas that the canary always has. Without any, a canary of 0 % would have no pod."""

    observe: Literal["cluster", "none"] = "cluster"
    """How a commit is seen to have arrived: by the InferenceService on the cluster
    (`rollout.targets.kserve` says where), or not at all. With `none` every commit counts as
    carried out, which is for tests only."""

    timeout_s: float = Field(900.0, gt=0)
    """Longest wait for the controller and the cluster to carry out a commit. A candidate that
    isn't ready by then is rolled back."""

    poll_s: float = Field(5.0, gt=0)
    """Pause between two looks at the branch or at the cluster."""

    git_timeout_s: float = Field(60.0, gt=0)
    """Longest wait for one call of `git`."""

    attempts: int = Field(10, ge=1, le=100)
    """How often a commit is tried where others push first, a hook refuses or the remote can't be
    reached; pauses grow, with jitter."""

    @field_validator("repository")
    @classmethod
    def _plain(cls, url: str) -> str:
        if url.startswith("-") or "::" in url or any(c.isspace() for c in url.strip()):
            raise ValueError("is not a URL or path of a Git repository")
        scheme, found, rest = url.partition("://")
        if found and f"{scheme}://" not in _SCHEMES:
            raise ValueError(f"has the scheme {scheme}; give one of {', '.join(_SCHEMES)}")
        host = rest.partition("/")[0]
        if found and "@" in host and (":" in host.partition("@")[0] or scheme.startswith("http")):
            raise ValueError("has a user or a password in it; name the token by `token_env`")
        return url

    @field_validator("path")
    @classmethod
    def _inside(cls, path: str) -> str:
        if path.startswith("/") or ".." in path.split("/") or ".git" in path.split("/"):
            raise ValueError("must be a folder inside the repository")
        return path

    @model_validator(mode="after")
    def _no_token_in_the_clear(self) -> Self:
        for url in (self.repository, self.forge_url):
            if self.token_env and url.startswith("http://") and not _LOOPBACK.match(url):
                raise ValueError(f"a token would travel in the clear to {url}; use https://")
        return self
