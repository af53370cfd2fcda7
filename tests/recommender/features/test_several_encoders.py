"""Encoders side by side, folders as encoders, languages, and texts of every kind."""

from __future__ import annotations

import logging
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tables_by_hand import item_table
from tiny_encoder import CHINESE, tiny_encoder

from recommender.config.text import TextConfig
from recommender.errors import FeatureError
from recommender.features import text as text_module
from recommender.features.encoder import Encoder
from recommender.features.encoder_folder import folder_hash, identity
from recommender.features.item_text import item_text
from recommender.features.language import language
from recommender.features.text import clean, describe, encode_items
from recommender.features.vector_cache import content_hash

ENGLISH_ITEMS = [{"item_id": f"e{n}", "title": f"Red scarf of wool {n}"} for n in range(40)]
CHINESE_ITEMS = [
    {"item_id": f"z{n}", "title": "红色的羊毛围巾适合冬天"[: 5 + n]} for n in range(10)
]


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, dict[str, str]]:
    """Settings of two tiny encoders: one that knows English words, one Chinese signs as well."""
    root = tmp_path_factory.mktemp("encoders")
    words = ("red", "scarf", "of", "wool", "hat", *map(str, range(40)))
    made = {
        "english": tiny_encoder(root / "english", words=words),
        "chinese": tiny_encoder(root / "chinese", words=words, signs=CHINESE),
    }
    return {
        name: {"encoder": str(root / name), "revision": pin, "threads": 1, "batch_size": 16}
        for name, pin in made.items()
    }


@pytest.fixture
def forwarded():
    """Counts the texts of every forward pass that really happens."""
    from transformers import BertModel

    seen: list[int] = []
    original = BertModel.forward

    def counted(self, input_ids=None, **named):
        seen.append(len(input_ids))
        return original(self, input_ids, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(BertModel, "forward", counted)
        yield seen


def both(folders, **changes) -> TextConfig:
    return TextConfig.model_validate(
        {**folders["english"], "also": [{**folders["chinese"], "slug": "zh"}], **changes}
    )


def test_encoders_stand_side_by_side_in_columns_of_their_own(folders, tmp_path):
    items = item_table(ENGLISH_ITEMS + CHINESE_ITEMS)
    made = encode_items(items, both(folders), tmp_path)
    table = item_text(items, made)
    assert table.column_names[-2:] == ["vector_zh", "encoder_zh"]
    assert set(table["encoder"].to_pylist()) == {f"english@{folders['english']['revision']}"}
    assert set(table["encoder_zh"].to_pylist()) == {f"chinese@{folders['chinese']['revision']}"}
    vectors = np.array(table["vector_zh"].to_pylist(), np.float32)
    assert vectors.tobytes() == made.also["zh"].vectors.tobytes()
    assert not np.allclose(vectors, made.vectors, atol=0.01)
    alone = encode_items(items, TextConfig(**folders["chinese"]), tmp_path / "alone")
    assert alone.vectors.tobytes() == vectors.tobytes()


def test_a_further_encoder_encodes_the_catalogue_once_and_no_other_does_again(
    folders, tmp_path, forwarded
):
    items = item_table(ENGLISH_ITEMS)
    encode_items(items, TextConfig(**folders["english"]), tmp_path)
    assert sum(forwarded) == 40
    forwarded.clear()
    made = encode_items(items, both(folders), tmp_path)
    assert sum(forwarded) == 40
    assert (made.encoded, made.also["zh"].encoded) == (0, 40)


def test_unchanged_text_is_never_encoded_again_and_a_changed_one_is_alone(
    folders, tmp_path, forwarded, monkeypatch
):
    config = both(folders)
    first = encode_items(item_table(ENGLISH_ITEMS), config, tmp_path)
    forwarded.clear()
    with monkeypatch.context() as poisoned:

        def refuse(*arguments):
            raise AssertionError("an encoder was loaded")

        poisoned.setattr(text_module, "Encoder", refuse)
        again = encode_items(item_table(ENGLISH_ITEMS), config, tmp_path)
    assert again.vectors.tobytes() == first.vectors.tobytes()
    assert forwarded == []

    changed = [{**ENGLISH_ITEMS[0], "title": "Red hat"}, *ENGLISH_ITEMS[1:]]
    made = encode_items(item_table(changed), config, tmp_path)
    assert forwarded == [1, 1]  # the one text, by each encoder
    assert made.vectors[1:].tobytes() == first.vectors[1:].tobytes()
    assert not np.allclose(made.vectors[0], first.vectors[0])


def test_an_encoder_that_knows_chinese_gives_no_warning(folders, tmp_path):
    made = encode_items(item_table(CHINESE_ITEMS), TextConfig(**folders["chinese"]), tmp_path)
    assert made.warnings == ()
    (spoken,) = made.languages
    assert (spoken.name, spoken.texts, spoken.unknown_rate) == ("chinese", 10, 0)
    assert spoken.known


def test_a_language_is_reported_though_the_whole_catalogue_hides_it(folders, tmp_path, caplog):
    # 19 English titles to one Chinese: 4 % of all tokens are unknown, all of them in Chinese.
    english = [{"item_id": f"e{n}", "title": "red scarf of wool " * 3} for n in range(19)]
    catalogue = item_table([*english, {"item_id": "z", "title": "红色的羊毛围巾适合"}])
    caplog.set_level(logging.WARNING)
    made = encode_items(catalogue, TextConfig(**folders["english"]), tmp_path)
    assert made.unknown_rate < text_module.UNKNOWN_LIMIT
    (said,) = made.warnings
    assert said.startswith("100% of the tokens of 1 texts in chinese (5% of all texts)")
    assert "quality in chinese is not reported" in said
    assert said in caplog.messages
    assert made.summary()["languages"] == {
        "latin": {"texts": 19, "unknown_token_rate": 0.0, "known": True},
        "chinese": {"texts": 1, "unknown_token_rate": 1.0, "known": False},
    }


def test_a_further_encoder_warns_too(folders, tmp_path):
    config = TextConfig.model_validate(
        {**folders["chinese"], "also": [{**folders["english"], "slug": "old"}]}
    )
    made = encode_items(item_table(CHINESE_ITEMS), config, tmp_path)
    (said,) = made.warnings
    assert "english@" in said
    assert made.summary()["also"]["old"]["languages"]["chinese"]["known"] is False


@pytest.mark.parametrize(
    ("said", "name"),
    [
        ("A red scarf", "latin"),
        ("Rotes Tuch für Männer", "latin"),
        ("红色的羊毛围巾", "chinese"),
        ("Nike Air Max 男士跑步鞋", "chinese"),
        ("Item with one 字 in a long title in English", "latin"),
        ("赤いスカーフ", "japanese"),
        ("빨간 스카프", "korean"),
        ("красный шарф", "cyrillic"),
        ("وشاح أحمر", "arabic"),
        ("Ｎｉｋｅ", "latin"),
        ("12 / 24", "no letters"),
        ("🎁🎁", "no letters"),
        ("", ""),
    ],
)
def test_languages_are_told_apart_by_their_script(said, name):
    assert language(said) == name


ODD = [
    "",
    "x" * 100_000,
    "red scarf " * 10_000,
    "\x00\x01\x02",
    "red\x00scarf\u202e\ufeff",
    "🎁 👩‍👩‍👧 👍🏽",
    "红色 red 赤い красный أحمر",
    "\u200b\u200d",
    "\ud83d broken",
    " \t\n ",
    None,
]


def test_odd_texts_become_vectors_or_zeros_and_nothing_breaks(folders, tmp_path):
    items = item_table(
        {"item_id": f"{n:02}", "title": title}
        for n, title in enumerate(ODD)
        if title is None or title.isprintable() or "\ud83d" not in title
    )
    made = encode_items(items, both(folders), tmp_path)
    lengths = np.linalg.norm(made.vectors, axis=1)
    said = np.array([bool(text) for text in made.texts])
    assert said.tolist().count(False) == made.without_text == 4
    np.testing.assert_allclose(lengths[said], 1, atol=1e-5)
    assert not lengths[~said].any()
    assert made.texts[1] == "x" * 100_000
    assert made.texts[4] == "red scarf"


def test_what_no_encoding_can_write_is_taken_out():
    assert clean("\ud83d broken \ud800") == "broken"
    assert clean("👩‍👩‍👧") == "👩‍👩‍👧"
    assert clean("soft\u00adhyphen") == "softhyphen"


@settings(max_examples=200, deadline=None)
@given(st.text(st.characters(codec=None), max_size=40))
def test_a_clean_text_can_be_hashed_stored_and_stays_as_it_is(said):
    once = clean(said)
    assert clean(once) == once
    assert len(content_hash(once)) == 64
    assert not set(once) & set("\x00\n\t\r\u200b\ufeff")
    described = describe(item_table([{"item_id": "i", "title": once}]))
    assert described == describe(item_table([{"item_id": "i", "title": once, "text": ""}]))


def broken(folders, tmp_path: Path, change) -> dict[str, str]:
    folder = tmp_path / "copy"
    shutil.copytree(folders["english"]["encoder"], folder)
    change(folder)
    return {"encoder": str(folder), "revision": folder_hash(folder), "threads": 1}


def test_a_folder_that_is_not_what_it_is_pinned_to_is_refused_with_its_content(folders, tmp_path):
    settings = broken(folders, tmp_path, lambda folder: None)
    Encoder(TextConfig(**settings), tmp_path)
    config = Path(settings["encoder"]) / "config.json"
    config.write_text(config.read_text() + "\n")
    with pytest.raises(FeatureError, match="not what it is pinned to") as told:
        Encoder(TextConfig(**settings), tmp_path)
    assert folder_hash(Path(settings["encoder"])) in told.value.message


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("model.safetensors", "can't be loaded"),
        ("tokenizer.json", "can't be loaded"),
        ("config.json", "can't be loaded"),
        ("modules.json", "damaged modules.json"),
    ],
)
def test_a_damaged_folder_is_one_clear_error(folders, tmp_path, file, said):
    def cut(folder: Path) -> None:
        path = next(folder.rglob(file))
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    with pytest.raises(FeatureError, match=said):
        Encoder(TextConfig(**broken(folders, tmp_path, cut)), tmp_path)


def test_weights_that_make_no_numbers_are_said_with_an_example(folders, tmp_path):
    def poison(folder: Path) -> None:
        from safetensors.numpy import load_file, save_file

        path = next(folder.rglob("*.safetensors"))
        weights = load_file(path)
        weights["embeddings.word_embeddings.weight"][:] = np.nan
        save_file(weights, path, metadata={"format": "pt"})

    encoder = Encoder(TextConfig(**broken(folders, tmp_path, poison)), tmp_path)
    with pytest.raises(FeatureError, match=r"no finite vector of 1 of 1 texts, e\.g\. of 'red'"):
        encoder.encode(("h",), ["red"])


def test_a_folder_that_is_missing_or_empty_is_said(tmp_path):
    with pytest.raises(FeatureError, match="is not a folder"):
        folder_hash(tmp_path / "none")
    with pytest.raises(FeatureError, match="has no safetensors weights") as told:
        folder_hash(tmp_path)
    assert "SentenceTransformer" in told.value.hint


def test_the_program_prints_what_pins_a_folder(folders):
    told = subprocess.run(
        [
            sys.executable,
            "-m",
            "recommender.features.encoder_folder",
            folders["english"]["encoder"],
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout.strip() == folders["english"]["revision"]


def test_a_folder_is_named_without_its_place_on_this_machine(folders):
    name = identity(TextConfig(**folders["english"]))
    assert name == f"english@{folders['english']['revision']}"
