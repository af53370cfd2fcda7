"""The encode service as a program of its own: over TLS, with a token, under bad input."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import pytest
import trustme
import yaml
from tables_by_hand import configuration, item_table
from tiny_encoder import CHINESE, tiny_encoder

from feature_repo.encode_service import MOST_BYTES, MOST_TEXTS, TOKEN_VARIABLE
from recommender.config import Config
from recommender.features.text import encode_items

ROOT = Path(__file__).parents[2]
TOKEN = "a token for this test"
ITEM = {"title": "Red scarf", "text": "Wool.", "brand": None, "categories": ["hat", None]}


@pytest.fixture(scope="module")
def config(tmp_path_factory) -> Config:
    root = tmp_path_factory.mktemp("service")
    pins = {
        "english": tiny_encoder(root / "english"),
        "chinese": tiny_encoder(root / "chinese", signs=CHINESE),
    }
    main, further = (
        {"encoder": str(root / name), "revision": pin, "threads": 1} for name, pin in pins.items()
    )
    text = {**main, "also": [{**further, "slug": "zh"}]}
    return configuration(root / "workspace", features={"text": text})


def written(config: Config, folder: Path) -> Path:
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(json.loads(config.to_json())))
    return path


@pytest.fixture(scope="module")
def service(config, tmp_path_factory):
    """A client of a running service, and its process."""
    folder = tmp_path_factory.mktemp("run")
    authority = trustme.CA()
    server = authority.issue_cert("127.0.0.1")
    server.cert_chain_pems[0].write_to_path(folder / "cert.pem")
    server.private_key_pem.write_to_path(folder / "key.pem")
    authority.cert_pem.write_to_path(folder / "ca.pem")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    arguments = ["--port", str(port), "--certificate", "cert.pem", "--key", "key.pem"]
    process = subprocess.Popen(
        [sys.executable, "-m", "feature_repo.encode_service", written(config, folder), *arguments],
        cwd=folder,
        env={**os.environ, TOKEN_VARIABLE: TOKEN, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        stderr=subprocess.PIPE,
        text=True,
    )
    with httpx.Client(
        base_url=f"https://127.0.0.1:{port}",
        verify=str(folder / "ca.pem"),
        headers={"Authorization": f"Bearer {TOKEN}"},
        timeout=60,
    ) as client:
        end = time.monotonic() + 120
        while True:
            try:
                client.get("/health").raise_for_status()
                break
            except httpx.TransportError:
                assert process.poll() is None, process.stderr.read()
                assert time.monotonic() < end
                time.sleep(0.1)
        yield client, process
    process.kill()
    process.wait()


@pytest.fixture
def client(service) -> httpx.Client:
    return service[0]


def test_an_item_is_told_and_encoded_as_the_pipeline_does_by_every_encoder(
    client, config, tmp_path
):
    items = item_table([{"item_id": "i", **ITEM}])
    wanted = encode_items(items, config.features.text, tmp_path)
    for slug, made in (("", wanted), ("zh", wanted.also["zh"])):
        told = client.post("/encode", json={"items": [ITEM], "encoder": slug}).json()
        assert told["encoder"] == made.encoder
        assert told["texts"] == ["Red scarf. Wool. hat"]
        assert told["content_hashes"] == list(made.hashes)
        np.testing.assert_allclose(told["vectors"], made.vectors, atol=1e-6)
        again = client.post("/encode", json={"texts": ["Red scarf. Wool. hat"], "encoder": slug})
        assert again.json()["cached"] == [True]
        assert again.json()["vectors"] == told["vectors"]


def test_a_language_that_the_encoder_does_not_know_is_said(client):
    texts = {"texts": ["red hat", "红色的羊毛围巾", ""]}
    assert client.post("/encode", json=texts).json()["unknown_languages"] == {"chinese": 1.0}
    assert client.post("/encode", json={**texts, "encoder": "zh"}).json()["unknown_languages"] == {}


def test_many_at_once_are_answered_each_with_its_own_and_share_passes(client):
    texts = [f"green {word} {n}" for n in range(20) for word in ("hat", "shirt", "wool")]
    with ThreadPoolExecutor(16) as pool:
        told = list(pool.map(lambda text: client.post("/encode", json={"texts": [text]}), texts))
    assert [each.json()["texts"] for each in told] == [[text] for text in texts]
    counted = client.get("/metrics").text
    assert 'source="encoded"' in counted
    assert "encoder_passes_total" in counted


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        (b"{", 422, "Invalid JSON"),
        (b"[]", 422, "an object"),
        (b"{}", 422, "either texts or items"),
        (b'{"texts": [], "items": []}', 422, "either texts or items"),
        (b'{"texts": ["a"], "items": [{"title": "b"}]}', 422, "either texts or items"),
        (b'{"texts": ["a", 7]}', 422, "texts.1"),
        (b'{"texts": ["\\ud800"]}', 422, "Invalid JSON"),
        (b'{"items": [{"name": "b"}]}', 422, "items.0.name"),
        (b'{"texts": ["a"], "encoder": "none"}', 404, "no encoder 'none'"),
        (json.dumps({"texts": ["a"] * (MOST_TEXTS + 1)}).encode(), 422, "at most 256"),
        (b'{"texts": ["' + b"a" * MOST_BYTES + b'"]}', 413, "larger than 4 MiB"),
    ],
)
def test_what_cannot_be_understood_is_refused_with_a_reason(client, body, status, said):
    answer = client.post("/encode", content=body)
    assert answer.status_code == status
    assert said in answer.json()["error"]
    assert answer.json()["hint"]
    assert client.post("/encode", json={"texts": ["red"]}).status_code == 200


def test_odd_texts_are_answered(client):
    texts = ["x" * 100_000, "\x00", "🎁 👩‍👩‍👧", "red\n\tscarf\u202e", ""]
    told = client.post("/encode", json={"texts": texts}).json()
    assert told["texts"] == ["x" * 100_000, "", "🎁 👩‍👩‍👧", "red scarf", ""]
    lengths = np.linalg.norm(told["vectors"], axis=1)
    np.testing.assert_allclose(lengths, [1, 0, 1, 1, 0], atol=1e-5)


@pytest.mark.parametrize("given", [{}, {"Authorization": "Bearer x"}, {"Authorization": TOKEN}])
def test_without_the_token_nobody_is_answered(client, given):
    bare = httpx.Request("POST", client.base_url.join("/encode"), headers=given, content=b"{}")
    answer = client.send(bare)
    assert answer.status_code == 401
    assert TOKEN not in answer.text


def started(config: Config, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "feature_repo.encode_service", written(config, folder), *arguments],
        env={name: value for name, value in os.environ.items() if name != TOKEN_VARIABLE},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_it_does_not_listen_to_strangers_without_a_token(config, tmp_path):
    told = started(config, tmp_path, "--host", "0.0.0.0")
    assert told.returncode == 1
    assert "would answer anyone who reaches 0.0.0.0" in told.stderr
    assert "Traceback" not in told.stderr


def test_an_encoder_that_is_not_there_ends_it_with_a_message(config, tmp_path):
    nowhere = {"encoder": str(tmp_path / "none"), "revision": "0" * 64}
    gone = configuration(tmp_path, features={"text": nowhere})
    told = started(gone, tmp_path)
    assert told.returncode == 1
    assert "is not a folder" in told.stderr
    assert "Traceback" not in told.stderr


def test_what_it_has_encoded_is_kept_when_it_is_stopped(service, config):
    client, process = service
    client.post("/encode", json={"texts": ["blue hat of the last moment"]}).raise_for_status()
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) in (0, -signal.SIGTERM)
    items = item_table([{"item_id": "i", "title": "blue hat of the last moment"}])
    main_only = config.features.text.model_copy(update={"also": ()})
    assert encode_items(items, main_only, config.paths.cache).encoded == 0
