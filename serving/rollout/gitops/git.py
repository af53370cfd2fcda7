"""Runs the `git` program: no prompts, no hooks of this machine, a limit of time, no token in sight.

A token is handed to Git in its environment, as a header for one URL only. It is in no argument, no
URL and no file; and what Git says is cleared of it before anybody reads it.
"""

from __future__ import annotations

import base64
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from recommender.errors import ConfigError, RolloutError


class GitError(RolloutError):
    """Git can't do what was asked."""


class UnreachableError(GitError):
    """The remote doesn't answer (in time); that may pass."""


class RejectedError(GitError):
    """The remote was reached and didn't take a push: somebody was first, or a hook refused it."""


# What of this process's own Git settings holds for us, too.
_KEPT = re.compile(
    r"^GIT_(SSH|SSH_COMMAND|SSH_VARIANT|SSL_\w+|HTTP_\w+|PROXY_\w+|EXEC_PATH|ASKPASS|CONFIG_\w+)$"
)
# An `ext::` remote would run any program.
_PROTOCOLS = "file:git:http:https:ssh"
_NO_ACCESS = (
    "authentication failed",
    "could not read username",
    "could not read password",
    "permission denied",
    "returned error: 401",
    "returned error: 403",
    "access denied",
    "host key verification failed",
    "dubious ownership",
)
_NO_REMOTE = (
    "does not appear to be a git repository",
    "repository not found",
    "no such file or directory",
    "returned error: 404",
    "' not found",
    "not a git repository",
)
_PASSING = (
    "could not resolve host",
    "couldn't connect",
    "failed to connect",
    "connection refused",
    "connection reset",
    "connection timed out",
    "timed out",
    "the remote end hung up",
    "early eof",
    "returned error: 5",
    "returned error: 429",
    "rpc failed",
    "temporarily unavailable",
    "network is unreachable",
)


class Git:
    """The `git` program for one remote.

    Args:
        url: of the remote, or a path.
        token_env: environment variable with the token; "" for none.
        token_user: user name that goes with the token; what a forge expects differs.
        timeout_s: of each call.

    Raises:
        GitError: the program isn't installed.
        ConfigError: the variable of the token is empty.
    """

    def __init__(
        self,
        url: str,
        token_env: str = "",
        token_user: str = "",
        timeout_s: float = 60.0,
    ) -> None:
        program = shutil.which("git")
        if program is None:
            raise GitError("git is not installed", "install git, or choose another rollout.target")
        self._program = program
        self.url = str(Path(url).absolute()) if _is_path(url) else url
        self._timeout_s = timeout_s
        self._secrets: tuple[str, ...] = ()
        self._header = ""
        if token_env:
            self._header = self._authorization(token_env, token_user)

    def run(
        self,
        *arguments: str,
        folder: Path,
        stdin: bytes = b"",
        variables: Mapping[str, str] | None = None,
        fds: Sequence[int] = (),
    ) -> bytes:
        """Run one command and return what it writes.

        Args:
            arguments: after `git`.
            folder: to run in.
            stdin: that it reads.
            variables: for its environment, beside the usual ones.
            fds: open files that it inherits.

        Raises:
            UnreachableError: the remote doesn't answer (in time).
            GitError: it fails otherwise; the message is Git's, cleared of secrets.
        """
        command = [self._program, "-c", "core.hooksPath=/dev/null", "-c", "gc.auto=0", *arguments]
        process = subprocess.Popen(  # noqa: S603 no shell; the URL's scheme is one of five
            command,
            cwd=folder,
            env=self._environment() | dict(variables or {}),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            pass_fds=tuple(fds),
        )
        try:
            written, said = process.communicate(stdin, timeout=self._timeout_s)
        except subprocess.TimeoutExpired:
            raise UnreachableError(
                f"git {arguments[0]} has not ended within {self._timeout_s:g} s ({self.url})"
            ) from None
        finally:
            if process.poll() is None:
                # Its helpers (ssh, git-remote-https) are in its session and end with it.
                os.killpg(process.pid, signal.SIGKILL)
                process.communicate()
        if process.returncode:
            self._fail(arguments[0], written, said)
        return written

    def clear(self, text: str) -> str:
        """Return a text without the token in any of its forms."""
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text

    def _authorization(self, token_env: str, user: str) -> str:
        token = os.environ.get(token_env, "").strip()
        if not token:
            raise ConfigError(
                f"the environment variable {token_env} is empty",
                "rollout.targets.gitops.token_env names it; put the token there",
            )
        if not token.isascii() or not token.isprintable():
            raise ConfigError(f"the environment variable {token_env} holds no token")
        basic = base64.b64encode(f"{user}:{token}".encode()).decode()
        self._secrets = (token, basic)
        return f"Authorization: Basic {basic}"

    def _environment(self) -> dict[str, str]:
        env = {k: v for k, v in os.environ.items() if not k.startswith("GIT_") or _KEPT.match(k)}
        env |= {"LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0", "GIT_ALLOW_PROTOCOL": _PROTOCOLS}
        # Asks for no password and no host key.
        env.setdefault("GIT_SSH_COMMAND", "ssh -o BatchMode=yes")
        if self._header and self.url.startswith(("http://", "https://")):
            # A redirect could carry the header elsewhere; a helper could ask or store it.
            settings = {
                f"http.{self.url}.extraHeader": self._header,
                "http.followRedirects": "false",
                "credential.helper": "",
            }
            first = int(env.get("GIT_CONFIG_COUNT", "0") or 0)
            for number, (key, value) in enumerate(settings.items(), first):
                env |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
            env["GIT_CONFIG_COUNT"] = str(first + len(settings))
        return env

    def _fail(self, command: str, written: bytes, said: bytes) -> None:
        told = self.clear((said + b"\n" + written).decode(errors="replace")).strip()
        low = told.lower()
        if command == "push" and (refused := _refusal(written)):
            remote = "\n".join(s for s in told.splitlines() if s.startswith("remote:"))
            raise RejectedError(f"{self.url} did not take the push: {refused}\n{remote}".strip())
        if any(words in low for words in _NO_ACCESS):
            raise GitError(
                f"no access to {self.url}:\n{told}",
                "give the account the right to write, and see rollout.targets.gitops.token_env",
            )
        if any(words in low for words in _PASSING):
            raise UnreachableError(f"{self.url} can't be reached:\n{told}")
        if any(words in low for words in _NO_REMOTE):
            raise GitError(
                f"there is no Git repository at {self.url}:\n{told}",
                "see rollout.targets.gitops.repository",
            )
        raise GitError(f"git {command} failed ({self.url}):\n{told}")


def _refusal(porcelain: bytes) -> str:
    """Return why a ref was not updated, by `git push --porcelain`; "" if none was refused."""
    for line in porcelain.decode(errors="replace").splitlines():
        if line.startswith("!"):
            return line.rsplit("\t", 1)[-1]
    return ""


def _is_path(url: str) -> bool:
    """Whether a remote is a path: neither a URL nor `user@host:path`."""
    return "://" not in url and (":" not in url.split("/", 1)[0])
