"""Outside the feature store a keyed pseudonym stands for a user."""

from __future__ import annotations

import hashlib
import hmac
import stat
from concurrent.futures import ThreadPoolExecutor

import pytest

from recommender.errors import ConfigError
from recommender.privacy import VARIABLE, Pseudonyms, pseudonyms

KEY = b"sixteen bytes ok"


@pytest.fixture(autouse=True)
def _no_key_from_outside(monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)


def test_a_pseudonym_is_the_keyed_hash_of_the_id():
    wanted = hmac.new(KEY, "ü 1".encode(), hashlib.sha256).hexdigest()[:32]
    assert Pseudonyms(KEY).of("ü 1") == wanted


def test_many_users_keep_their_order():
    names = Pseudonyms(KEY)
    assert names.of_all(["b", "a"]) == (names.of("b"), names.of("a"))


def test_another_key_gives_other_pseudonyms():
    assert Pseudonyms(KEY).of("u") != Pseudonyms(b"another sixteen!").of("u")


def test_a_short_key_is_refused():
    with pytest.raises(ConfigError, match="has 15 bytes; it needs 16"):
        Pseudonyms(KEY[:15])


def test_the_generated_key_stays_and_only_its_owner_can_read_it(tmp_path):
    first = pseudonyms(tmp_path / "keys").of("u")
    assert pseudonyms(tmp_path / "keys").of("u") == first
    (key,) = (tmp_path / "keys").iterdir()
    assert stat.S_IMODE(key.stat().st_mode) == 0o600


def test_two_installations_have_different_keys(tmp_path):
    assert pseudonyms(tmp_path / "a").of("u") != pseudonyms(tmp_path / "b").of("u")


def test_processes_that_start_at_once_agree_on_one_key(tmp_path):
    with ThreadPoolExecutor(16) as pool:
        names = list(pool.map(lambda _: pseudonyms(tmp_path / "keys").of("u"), range(64)))
    assert len(set(names)) == 1
    assert [path.name for path in (tmp_path / "keys").iterdir()] == ["pseudonym.key"]


def test_a_key_from_the_environment_wins_and_no_file_is_made(tmp_path, monkeypatch):
    monkeypatch.setenv(VARIABLE, KEY.decode())
    assert pseudonyms(tmp_path).of("u") == Pseudonyms(KEY).of("u")
    assert not list(tmp_path.iterdir())
