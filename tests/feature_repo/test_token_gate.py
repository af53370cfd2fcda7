"""Features are handed out only to those who carry a token, and written only by those who may."""

from __future__ import annotations

import asyncio
import json

import pytest

from feature_repo.profile import Profile
from feature_repo.serve import check, main
from feature_repo.token_gate import TokenGate, Tokens
from recommender.errors import ConfigError

READ, OTHER, WRITE = "r" * 24, "o" * 24, "w" * 24
ENVIRONMENT = {
    "OSTINATO_FEATURES_TOKEN": f"{READ}, {OTHER}",
    "OSTINATO_FEATURES_WRITE_TOKEN": WRITE,
}


async def behind(scope, receive, send):
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"features"})


def asked(method: str, path: str, *headers: tuple[bytes, bytes], kind: str = "http") -> list[dict]:
    tokens = Tokens.read(ENVIRONMENT)
    assert tokens is not None
    sent: list[dict] = []

    async def send(message):
        sent.append(message)

    async def receive():
        return {}

    scope = {"type": kind, "method": method, "path": path, "headers": list(headers)}
    asyncio.run(TokenGate(behind, tokens)(scope, receive, send))
    return sent


def status(method: str, path: str, token: str | None = None) -> int:
    headers = [] if token is None else [(b"Authorization", f"Bearer {token}".encode())]
    return asked(method, path, *headers)[0]["status"]


def test_probes_need_no_token_and_everything_else_does():
    assert status("GET", "/health") == 200
    for method, path in (
        ("POST", "/health"),
        ("POST", "/get-online-features"),
        ("POST", "/push"),
        ("GET", "/docs"),
        ("GET", "/chat"),
        ("GET", "/health/../get-online-features"),
    ):
        assert status(method, path) == 401


@pytest.mark.parametrize("token", [READ, OTHER, WRITE])
def test_every_token_reads(token):
    assert status("POST", "/get-online-features", token) == 200


@pytest.mark.parametrize(
    "path", ["/push", "/write-to-online-store", "/materialize", "/materialize-incremental"]
)
def test_only_a_token_for_writing_writes(path):
    assert [status("POST", path, token) for token in (READ, OTHER, WRITE)] == [403, 403, 200]


@pytest.mark.parametrize(
    "header", ["", READ, f"Basic {READ}", "Bearer", "Bearer ", f"Bearer {READ[:-1]}", "Bearer ü"]
)
def test_what_is_not_a_known_token_is_refused_with_a_reason(header):
    start, body = asked(
        "POST", "/get-online-features", (b"authorization", header.encode("latin-1"))
    )
    assert start["status"] == 401
    assert (b"www-authenticate", b"Bearer") in start["headers"]
    assert json.loads(body["body"]) == {"detail": "a bearer token is needed"}


def test_websockets_are_refused():
    (sent,) = asked("GET", "/ws/chat", (b"authorization", b"Bearer " + WRITE.encode()), kind="ws")
    assert sent == {"type": "websocket.close", "code": 1008}


def test_tokens_are_not_kept_in_the_clear():
    assert READ not in repr(Tokens.read(ENVIRONMENT))


def test_no_token_is_none():
    assert Tokens.read({}) is None
    assert Tokens.read({"OSTINATO_FEATURES_TOKEN": " , "}) is None


@pytest.mark.parametrize(
    "environment",
    [
        {"OSTINATO_FEATURES_TOKEN": "guessable"},
        {"OSTINATO_FEATURES_TOKEN": f"{READ},short"},
        {"OSTINATO_FEATURES_WRITE_TOKEN": WRITE},
    ],
)
def test_tokens_that_protect_nothing_are_refused_and_not_repeated(environment):
    with pytest.raises(ConfigError, match="TOKEN") as told:
        Tokens.read(environment)
    assert "guessable" not in str(told.value)


PRODUCTION = Profile("production", "redis:6379", "postgresql+psycopg://u@db/x", "s3://b")


@pytest.mark.parametrize(("tls", "token"), [(False, False), (True, False), (False, True)])
def test_production_is_served_with_tls_and_a_token_or_not_at_all(tls, token):
    with pytest.raises(ConfigError, match="the production profile is not served without"):
        check(PRODUCTION, "127.0.0.1", tls=tls, token=token)
    check(PRODUCTION, "0.0.0.0", tls=True, token=True)


def test_embedded_is_served_unguarded_to_this_machine_only():
    check(Profile("embedded"), "127.0.0.1", tls=False, token=False)
    with pytest.raises(ConfigError, match=r"not served to other machines \(on 0.0.0.0\)"):
        check(Profile("embedded"), "0.0.0.0", tls=False, token=True)


def test_what_is_missing_is_said_before_anything_starts(tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("OSTINATO_FEATURES", raising=False)
    assert main([]) == 1
    assert "OSTINATO_FEATURES is not set" in capsys.readouterr().err
    monkeypatch.setenv("OSTINATO_FEATURES_TOKEN", READ)
    assert main(["--key", str(tmp_path / "none"), "--cert", str(tmp_path / "none")]) == 1
    assert f"{tmp_path}/none does not exist" in capsys.readouterr().err
