"""Pull requests on GitHub, by its REST API (version 2022-11-28); GitHub Enterprise has the same.

https://docs.github.com/en/rest/pulls/pulls
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from typing import Any

import httpx

from feature_repo.stream.retry import pause_s
from recommender.config.gitops_target import GitOpsTargetConfig
from recommender.errors import ConfigError, RolloutError

_BUSY = frozenset({429, 500, 502, 503, 504})
_LONGEST_BODY = 60_000  # GitHub takes 65,536 characters


class GitHub:
    """Pull requests of one repository.

    Args:
        url: base URL of the API.
        repository: `owner/name`.
        token: of the bot; it needs "pull requests: write".
        timeout_s: longest wait for one answer.
        attempts: how often a request is tried.
        pause: waits for some seconds.
    """

    def __init__(
        self,
        url: str,
        repository: str,
        token: str,
        timeout_s: float = 30.0,
        attempts: int = 5,
        pause: Callable[[float], object] = time.sleep,
    ) -> None:
        self._url = f"{url.rstrip('/')}/repos/{repository}"
        self._owner = repository.partition("/")[0]
        self._token = token
        self._timeout_s = timeout_s
        self._attempts = attempts
        self._pause = pause

    @classmethod
    def of(cls, settings: GitOpsTargetConfig) -> GitHub:
        """Return the forge of the settings.

        Raises:
            ConfigError: there is no token, or the repository's name can't be told.
        """
        token = os.environ.get(settings.token_env, "").strip() if settings.token_env else ""
        if not token:
            raise ConfigError(
                "a pull request on GitHub takes a token",
                "rollout.targets.gitops.token_env names the environment variable that holds it",
            )
        match = re.search(r"([\w.-]+)/([\w.-]+?)(\.git)?/?$", settings.repository.replace(":", "/"))
        name = settings.forge_repository or (f"{match[1]}/{match[2]}" if match else "")
        if not name:
            raise ConfigError(
                f"{settings.repository} does not end in owner/name",
                "set rollout.targets.gitops.forge_repository",
            )
        return cls(settings.forge_url, name, token, attempts=settings.attempts)

    def open(self, branch: str, base: str, title: str, body: str) -> str:
        """Make sure that there is a pull request, and return its address."""
        if (found := self._find(branch, base)) is not None:
            return str(found["html_url"])
        wanted = {"title": title, "head": branch, "base": base, "body": body[:_LONGEST_BODY]}
        made = self._ask("POST", "/pulls", json=wanted, passes=(422,))
        if made is None:  # GitHub says 422 where there is one already: an answer got lost
            if (found := self._find(branch, base)) is None:
                raise RolloutError(f"GitHub refuses a pull request of {branch} into {base}")
            made = found
        return str(made["html_url"])

    def declined(self, branch: str, base: str) -> bool:
        """Say whether the newest one was closed without being merged."""
        found = self._find(branch, base)
        return found is not None and found["state"] == "closed" and not found.get("merged_at")

    def close(self, branch: str, base: str, comment: str) -> None:
        """Close it with a comment, if it is open."""
        found = self._find(branch, base)
        if found is None or found["state"] != "open":
            return
        number = int(found["number"])
        self._ask("POST", f"/issues/{number}/comments", json={"body": comment[:_LONGEST_BODY]})
        self._ask("PATCH", f"/pulls/{number}", json={"state": "closed"})

    def _find(self, branch: str, base: str) -> dict[str, Any] | None:
        """Return the newest pull request of a branch."""
        query = {
            "head": f"{self._owner}:{branch}",
            "base": base,
            "state": "all",
            "sort": "created",
            "direction": "desc",
        }
        found = self._ask("GET", "/pulls", params=query)
        return next((one for one in found or () if one["head"]["ref"] == branch), None)

    def _ask(
        self,
        method: str,
        path: str,
        json: dict[str, Any] | None = None,
        params: dict[str, str] | None = None,
        passes: tuple[int, ...] = (),
    ) -> Any:
        """Ask, again while GitHub is busy; None where it answers one of `passes`."""
        headers = {
            "Accept": "application/vnd.github+json",
            "Authorization": f"Bearer {self._token}",
            "X-GitHub-Api-Version": "2022-11-28",
        }
        last = ""
        for attempt in range(self._attempts):
            wait = pause_s(attempt)
            try:
                answer = httpx.request(
                    method,
                    self._url + path,
                    json=json,
                    params=params,
                    headers=headers,
                    timeout=self._timeout_s,
                    follow_redirects=False,
                )
            except httpx.TransportError as error:
                last = str(error) or type(error).__name__
            else:
                if answer.status_code in passes:
                    return None
                if not self._is_busy(answer):
                    return self._read(f"{method} {path}", answer)
                last = f"{answer.status_code}: {_said(answer)}"
                wait = max(wait, _retry_after(answer))
            if attempt + 1 < self._attempts:
                self._pause(wait)
        raise RolloutError(f"GitHub does not answer {method} {path} at {self._url}: {last}")

    @staticmethod
    def _is_busy(answer: httpx.Response) -> bool:
        # A rate limit is a 403, too; only then it says when to come back.
        limited = "retry-after" in answer.headers or (
            answer.headers.get("x-ratelimit-remaining") == "0"
        )
        return answer.status_code in _BUSY or (answer.status_code == 403 and limited)

    def _read(self, what: str, answer: httpx.Response) -> Any:
        if answer.is_success:
            try:
                return answer.json()
            except ValueError:
                raise RolloutError(f"{self._url} answers {what} with no JSON") from None
        hint = {
            401: "the token is wrong or has expired",
            403: "the token needs the permission 'pull requests: write'",
            404: "see rollout.targets.gitops.forge_repository; without access it is 404, too",
        }.get(answer.status_code, "")
        raise RolloutError(
            f"GitHub refuses {what} at {self._url}: {answer.status_code}: {_said(answer)}", hint
        )


def _said(answer: httpx.Response) -> str:
    try:
        told = answer.json()
        errors = "; ".join(str(e.get("message", e)) for e in told.get("errors") or ())
        return f"{told.get('message', '')} {errors}".strip()[:500]
    except (ValueError, AttributeError):
        return answer.text[:300]


def _retry_after(answer: httpx.Response) -> float:
    try:
        return min(60.0, max(0.0, float(answer.headers.get("retry-after", 0))))
    except ValueError:
        return 0.0
