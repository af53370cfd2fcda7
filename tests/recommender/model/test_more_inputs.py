"""Who asks, where, numbers and vectors of items, hashed ids: what they may change, and what not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import torch
from reads_everything import IDS, ITEMS, items, scorer

from recommender.config.model import ModelConfig
from recommender.errors import FeatureError
from recommender.features.sequences import Catalogue
from recommender.model.extended import beside_text, extended, part_of, text_part
from recommender.model.id_buckets import id_buckets
from recommender.model.inputs import ItemTower
from recommender.model.reads import item_columns, vectors_of
from recommender.model.scorer import TransformerScorer
from recommender.tables import FURTHER


def test_who_asks_and_where_and_where_events_happened_each_change_the_answer(histories):
    whole = scorer()
    asked = histories(5, 0)
    surfaces = np.array([1, 0, 2, 1, 1], np.int8)
    known = replace(
        asked,
        people=({"sex": "f"}, {"sex": "m"}),
        surfaces=surfaces,
        surface=np.array([1, 2], np.int8),
    )
    scores = whole.scores(known)
    for change, changed in {
        "people": (({"sex": "m"}, {"sex": "f"}), [True, True]),
        "surface": (np.array([2, 1], np.int8), [True, True]),
        "surfaces": (np.array([1, 0, 2, 2, 1], np.int8), [True, False]),
    }.items():
        new, expected = changed
        other = whole.scores(replace(known, **{change: new}))
        assert (np.abs(other - scores).max(axis=1) > 1e-4).tolist() == expected
    unknown = whole.scores(replace(known, people=(None, {"sex": "?"}), surface=None))
    nobody = whole.scores(replace(known, people=None, surface=np.zeros(2, np.int8)))
    np.testing.assert_array_equal(unknown, nobody)


def test_a_model_that_reads_none_of_it_is_not_touched_by_it(module, histories):
    asked = histories(5, 0)
    told = replace(
        asked,
        people=({"sex": "f"}, None),
        surfaces=np.array([1, 0, 2, 1, 1], np.int8),
        surface=np.array([1, 2], np.int8),
    )
    plain = TransformerScorer(module(), Catalogue(IDS))
    np.testing.assert_array_equal(plain.scores(asked), plain.scores(told))
    assert (plain.reads_profiles, plain.reads_surfaces) == (False, False)


@pytest.mark.parametrize("buckets", [0, 50])
def test_a_model_with_every_input_comes_back_from_its_weights(histories, buckets):
    whole = scorer(id_buckets=buckets)
    asked = replace(histories(6, 2), people=({"sex": "f"}, None), surface=np.array([1, 0], np.int8))
    again = TransformerScorer.restore(whole.settings(), whole.weights(), whole.catalogue)
    np.testing.assert_array_equal(whole.scores(asked), again.scores(asked))
    assert again.module.reads == whole.module.reads
    rows = np.array([1, 4, 9])
    few = replace(asked, items=rows[asked.items % 3].astype(np.int32))
    small = replace(few, items=(asked.items % 3).astype(np.int32))
    np.testing.assert_allclose(
        part_of(whole, rows).scores(small), whole.scores(few)[:, rows], atol=1e-5
    )


@pytest.mark.parametrize("buckets", [0, 50])
def test_a_new_item_is_read_by_its_attributes_and_vectors_as_those_of_training_are(
    histories, buckets
):
    whole = scorer(id_buckets=buckets)
    # Three items come again under new names: all that is said of them is the same.
    rows = np.array([3, 8, 11])
    everything = np.arange(ITEMS)
    told_NX = beside_text(whole, everything, items(), items().take(rows))
    columns_NV = np.concatenate([text_part(whole)[rows], told_NX], axis=1)
    np.testing.assert_allclose(columns_NV, whole.module.tower.text_IV.numpy()[rows], atol=1e-3)
    grown = extended(whole, ["x", "y", "z"], columns_NV)
    asked = histories(5, 0)
    np.testing.assert_allclose(grown.scores(asked)[:, :ITEMS], whole.scores(asked), atol=1e-5)
    assert np.isfinite(grown.scores(asked)).all()
    # Nothing is said of it: columns of zeros.
    bare = pa.table({name: items().take([0])[name] for name in ("categories", "brand", "price")})
    bare = bare.set_column(0, "categories", pa.array([None], pa.list_(pa.string())))
    bare = bare.set_column(2, "price", pa.array([None], pa.float64()))
    assert not beside_text(whole, everything, items(), bare).any()


def test_the_tower_gives_some_rows_what_it_gives_all():
    for buckets in (0, 7):
        hashed = torch.from_numpy(id_buckets(IDS, buckets)) if buckets else None
        tower = ItemTower(
            torch.randn(ITEMS, 5), torch.rand(ITEMS) < 0.8, 8, 0.5, hashed, buckets
        ).eval()
        rows = torch.tensor([4, 0, 22])
        torch.testing.assert_close(tower(rows), tower()[rows])
        assert len(tower.id_ID) == (buckets or ITEMS)


def test_hashes_go_by_the_id_alone_and_few_items_share_both():
    ids = [f"item {number}" for number in range(2_000)]
    buckets = id_buckets(ids, 500)
    assert buckets.min() >= 0
    assert buckets.max() < 500
    np.testing.assert_array_equal(buckets[7:9], id_buckets(ids[7:9], 500))
    assert len(np.unique(buckets, axis=0)) > 1_980


def test_numbers_that_are_missing_or_not_finite_are_zeros_and_vectors_of_two_widths_are_refused():
    config = ModelConfig(text_width=2, numbers=("year",), vectors=("image",), vector_width=3)
    told = items()
    kinds = {field.name: field.type for field in FURTHER["items"]}
    years = [[("year", float("nan") if row == 2 else float(row))] for row in range(ITEMS)]
    broken = told.set_column(3, "numbers", pa.array(years, kinds["numbers"]))
    text_IW = np.eye(ITEMS, 4, dtype=np.float32)
    columns, attributes, widths = item_columns(broken, text_IW, np.ones(ITEMS, bool), config)
    assert widths == {"image": 3}
    assert attributes is not None
    year = columns[:, 2:-3]
    assert not year[2].any()
    np.testing.assert_array_equal(np.delete(year, 2, axis=0).sum(axis=1), 1)
    assert not columns[0, -3:].any()  # it has no image
    other = [[("image", [1.0] * (2 + row % 2))] for row in range(ITEMS)]
    with pytest.raises(FeatureError, match="different widths"):
        vectors_of(told.set_column(4, "vectors", pa.array(other, kinds["vectors"])), "image")
    lacking = told.drop_columns(["numbers", "vectors"])
    nothing, _, _ = item_columns(lacking, text_IW, np.ones(ITEMS, bool), config)
    assert not nothing[:, 2:].any()
