"""Texts become vectors while people wait: together, once, and the same as in the pipeline."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from tables_by_hand import item_table
from tiny_encoder import WORDS, tiny_encoder

from recommender.config.text import TextConfig
from recommender.errors import FeatureError, ServingError
from recommender.features import live_encoder as module
from recommender.features.encoder import Encoder
from recommender.features.live_encoder import EncoderBusyError, LiveEncoder
from recommender.features.text import cache_folder, describe, encode_items
from recommender.features.vector_cache import Encoded, VectorCache, content_hash
from recommender.features.vector_index import VectorIndex


@pytest.fixture(scope="module")
def config(tmp_path_factory) -> TextConfig:
    folder = tmp_path_factory.mktemp("encoder") / "tiny"
    return TextConfig(encoder=str(folder), revision=tiny_encoder(folder), threads=1, batch_size=8)


@pytest.fixture
def live(config, tmp_path):
    made = LiveEncoder(config, tmp_path)
    yield made
    made.close()


class Gate:
    """Holds the encoder until it is opened, and notes what every pass was asked for."""

    def __init__(self, monkeypatch, fails=()):
        self.opened = threading.Event()
        self.entered = threading.Event()
        self.passes: list[list[str]] = []
        self._original = Encoder.encode
        gate = self

        def encode(encoder, hashes, texts):
            gate.passes.append(list(texts))
            gate.entered.set()
            assert gate.opened.wait(30)
            if bad := [text for text in texts if text in fails]:
                raise FeatureError(f"no vector of {bad}")
            return gate._original(encoder, hashes, texts)

        monkeypatch.setattr(Encoder, "encode", encode)


def test_a_new_item_has_at_once_the_vector_that_the_pipeline_would_give_it(live, config, tmp_path):
    items = item_table([{"item_id": "new", "title": "Red scarf", "text": "wool\x00 for winter"}])
    (made,) = live.encode(describe(items))
    from_pipeline = encode_items(items, config, tmp_path / "elsewhere")
    assert made.content_hash == from_pipeline.hashes[0]
    np.testing.assert_allclose(made.vector, from_pipeline.vectors[0], atol=1e-6)
    assert not made.cached
    (again,) = live.encode(["  Red scarf.\twool for winter "])
    assert again.cached
    assert again.vector.tobytes() == made.vector.tobytes()


def test_requests_that_come_while_the_encoder_is_busy_share_the_next_pass(live, monkeypatch):
    gate = Gate(monkeypatch)
    with ThreadPoolExecutor(8) as pool:
        first = pool.submit(live.encode, ["red"])
        assert gate.entered.wait(30)
        others = [pool.submit(live.encode, [word]) for word in WORDS[1:7]]
        twice = [pool.submit(live.encode, ["blue"])]
        while len(live._waiting) < 6:
            time.sleep(0.01)
        gate.opened.set()
        vectors = [each.result()[0].vector for each in [first, *others, *twice]]
    assert gate.passes[0] == ["red"]
    assert sorted(gate.passes[1]) == sorted(WORDS[1:7])
    assert len(gate.passes) == 2
    assert vectors[1].tobytes() == vectors[-1].tobytes()
    assert (live.work.passes, live.work.encoded) == (2, 7)


def test_a_pass_is_never_larger_than_the_batch_size(live, monkeypatch):
    gate = Gate(monkeypatch)
    gate.opened.set()
    texts = [f"red {n}" for n in range(30)]
    assert len(live.encode(texts)) == 30
    assert max(map(len, gate.passes)) <= 8
    assert sum(map(len, gate.passes)) == 30


def test_what_the_pipeline_has_encoded_is_not_encoded_again_and_the_other_way_round(
    config, tmp_path, monkeypatch
):
    items = item_table([{"item_id": f"{n}", "title": f"red scarf {n}"} for n in range(20)])
    from_pipeline = encode_items(items, config, tmp_path)
    gate = Gate(monkeypatch)
    gate.opened.set()
    live = LiveEncoder(config, tmp_path)
    made = live.encode([f"red scarf {n}" for n in range(20)])
    assert all(each.cached for each in made)
    assert gate.passes == []
    assert {each.vector.tobytes() for each in made} == {
        vector.tobytes() for vector in from_pipeline.vectors
    }
    live.encode(["blue hat"])
    live.close()
    new = item_table([{"item_id": "n", "title": "Blue hat"}, {"item_id": "o", "title": "blue hat"}])
    again = encode_items(new, config, tmp_path)
    assert (again.encoded, again.cached) == (1, 1)  # the other one is spelled differently


def test_what_is_forgotten_by_the_memory_is_read_from_disk(config, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_SAVE_TEXTS", 1)
    gate = Gate(monkeypatch)
    gate.opened.set()
    live = LiveEncoder(config, tmp_path, remember=2)
    first = live.encode(["red", "blue", "green", "hat"])
    again = live.encode(["red", "blue", "green", "hat"])
    live.close()
    assert sum(map(len, gate.passes)) == 4
    assert [each.vector.tobytes() for each in again] == [each.vector.tobytes() for each in first]


def test_one_text_that_breaks_the_encoder_harms_no_other(live, monkeypatch):
    gate = Gate(monkeypatch, fails=("hat",))
    gate.opened.set()
    futures = live.submit(["red", "hat", "blue"])
    assert futures[0].result(30).vector.any()
    assert futures[2].result(30).vector.any()
    with pytest.raises(FeatureError, match="no vector of"):
        futures[1].result(30)
    with pytest.raises(FeatureError, match="no vector of"):
        live.encode(["hat"])
    assert live.encode(["green"])[0].vector.any()


def test_too_many_texts_at_once_are_refused_and_those_before_are_answered(
    config, tmp_path, monkeypatch
):
    gate = Gate(monkeypatch)
    live = LiveEncoder(config, tmp_path, most_waiting=3)
    first = live.submit(["red"])
    assert gate.entered.wait(30)
    waiting = live.submit(["blue", "green", "hat"])
    with pytest.raises(EncoderBusyError, match="3 texts wait") as told:
        live.submit(["wool"])
    assert told.value.passing
    assert live.submit(["blue"])  # waits already: costs nothing
    gate.opened.set()
    assert all(each.result(30).vector.any() for each in [*first, *waiting])
    live.close()
    with pytest.raises(ServingError, match="shutting down"):
        live.submit(["red"])


def test_who_gives_up_waiting_takes_nobody_s_vector_away(live, monkeypatch):
    gate = Gate(monkeypatch)
    (one,), (other,) = live.submit(["red"]), live.submit(["red"])
    assert gate.entered.wait(30)
    assert one.cancel()
    gate.opened.set()
    assert other.result(30).vector.any()


def test_an_empty_text_has_zeros_and_needs_no_pass(live):
    made = live.encode(["", " \x00", "red"])
    assert [each.content_hash == "" for each in made] == [True, True, False]
    assert not made[0].vector.any()
    assert made[0].vector.shape == (16,)
    assert live.work.encoded == 1


def test_what_cannot_be_kept_is_handed_out_all_the_same(config, tmp_path, caplog):
    live = LiveEncoder(config, tmp_path)
    folder = cache_folder(config, tmp_path)
    folder.parent.mkdir(parents=True)
    folder.write_text("in the way")
    assert live.encode(["red"])[0].vector.any()
    live.close()
    assert "could not be kept" in caplog.text


def test_threads_by_the_dozen_get_each_its_own_vector(live):
    texts = [f"red scarf {n % 40}" for n in range(400)]
    with ThreadPoolExecutor(16) as pool:
        made = list(pool.map(lambda text: live.encode([text])[0], texts))
    assert [each.content_hash for each in made] == [content_hash(text) for text in texts]
    assert live.work.encoded == 40


def test_the_index_follows_what_other_programs_add_and_merge(tmp_path):
    cache = VectorCache(tmp_path)
    index = VectorIndex(cache)
    assert index.find([content_hash("a")]) == []
    texts = [f"text {n}" for n in range(40)]
    for text in texts:
        vectors = np.full((1, 2), len(text), np.float32)
        cache.add(Encoded((content_hash(text),), vectors, *np.ones((2, 1), np.int32)))
    hashes = [content_hash(text) for text in texts]
    assert sorted(h for part in index.find(hashes) for h in part.hashes) == sorted(hashes)
    cache.compact()
    assert sorted(h for part in index.find(hashes) for h in part.hashes) == sorted(hashes)
    assert len(index) == 40
    (tmp_path / "damaged.parquet").write_bytes(b"PAR1")
    assert sum(len(part.hashes) for part in index.find([*hashes, "0" * 64])) == 40
