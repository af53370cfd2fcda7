"""A token over HTTP: it opens the door, and is seen nowhere else."""

from __future__ import annotations

import base64
import logging
import subprocess

import pytest
from git_http import GitServer
from gitops_world import Remote, state, target
from pydantic import ValidationError
from rollout_world import CANDIDATE, STABLE

from recommender.config.gitops_target import GitOpsTargetConfig
from serving.rollout.gitops.git import GitError

TOKEN = "s3cr3t-t0k3n"
BASIC = base64.b64encode(f"bot:{TOKEN}".encode()).decode()


@pytest.fixture
def remote(tmp_path, monkeypatch):
    monkeypatch.setenv("BOT_TOKEN", TOKEN)
    return Remote(tmp_path)


def bot(server, folder, **options):
    return target(
        f"{server.url}/remote.git", folder, token_env="BOT_TOKEN", token_user="bot", **options
    )


def test_a_rollout_over_http_with_a_token_that_is_in_no_log_file_or_argument(
    remote, tmp_path, caplog, monkeypatch
):
    commands = []
    popen = subprocess.Popen

    class Spied(popen):
        def __init__(self, command, *args, **kwargs):
            commands.append(" ".join(map(str, command)))
            super().__init__(command, *args, **kwargs)

    monkeypatch.setattr(subprocess, "Popen", Spied)
    monkeypatch.setenv("GIT_TRACE_CURL", "1")
    monkeypatch.setenv("GIT_TRACE_REDACT", "0")
    caplog.set_level(logging.DEBUG)
    work = tmp_path / "work.git"
    with GitServer(tmp_path, "bot", TOKEN) as server:
        server.down = 1
        served = bot(server, work)
        served.promote(STABLE)
        served.note(state())
        served.start_candidate(CANDIDATE)
        assert served.live() == STABLE
        assert any(told == f"Basic {BASIC}" for _, told in server.asked)
        assert not any(TOKEN in path for path, _ in server.asked)
    assert len(remote.subjects()) == 2
    seen = caplog.text + "\n".join(commands)
    seen += "".join(p.read_text(errors="replace") for p in work.rglob("*") if p.is_file())
    for secret in (TOKEN, BASIC):
        assert secret not in seen


def test_a_wrong_token_is_no_access_and_is_not_told(remote, tmp_path, monkeypatch):
    with GitServer(tmp_path, "bot", "another") as server:
        with pytest.raises(GitError, match="no access to") as caught:
            bot(server, tmp_path / "work.git", attempts=2).live()
        assert len(server.asked) <= 2, "a wrong token is not tried again"
    assert TOKEN not in str(caught.value)
    assert BASIC not in str(caught.value)


def test_what_git_says_is_cleared_of_the_token(remote, tmp_path):
    remote.hook("pre-receive", f"echo 'I saw {TOKEN} and {BASIC}' >&2; exit 1")
    with (
        GitServer(tmp_path, "bot", TOKEN) as server,
        pytest.raises(GitError, match=r"I saw \*\*\* and \*\*\*"),
    ):
        bot(server, tmp_path / "work.git", attempts=1).promote(STABLE)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"repository": "https://bot:pw@git.example.com/x.git"}, "a password in it"),
        ({"repository": "https://token@git.example.com/x.git"}, "a password in it"),
        ({"repository": "ext::sh -c 'touch /tmp/x'"}, "not a URL"),
        ({"repository": "--upload-pack=x"}, "not a URL"),
        ({"repository": "ftp://git.example.com/x"}, "scheme ftp"),
        ({"repository": "http://git.example.com/x", "token_env": "T"}, "in the clear"),
        ({"path": "../elsewhere"}, "inside the repository"),
        ({"path": "/etc"}, "inside the repository"),
        ({"branch": "-f"}, "branch"),
        ({"component": "../base"}, "component"),
        ({"author_email": "x> <y@z"}, "author_email"),
    ],
)
def test_settings_that_would_leak_or_run_something_are_refused(settings, words):
    with pytest.raises(ValidationError, match=words):
        GitOpsTargetConfig(**settings)


@pytest.mark.parametrize(
    "repository",
    ["/srv/x.git", "git@github.com:o/n.git", "ssh://git@host/x.git", "https://github.com/o/n"],
)
def test_usual_repositories_are_taken(repository):
    assert GitOpsTargetConfig(repository=repository).repository == repository
