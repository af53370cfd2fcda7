"""Similar items by text, from the vectors of the last publication.

They are read from the offline snapshot, not from the online store: that one is made for single
keys, and walking through all of it costs a message to decode per feature and item (a hundred times
the work), on the very server that answers people. The snapshot is columnar and memory-mapped, and
holds what was published, no more and no less.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from feature_repo.profile import read_profile
from recommender.errors import FeatureError
from recommender.features.similar import BLOCK, Similar, SimilarItems, nearest, unknown
from recommender.storage import is_s3, open_store
from recommender.workspace import Workspace

_FILE = "item_text.parquet"


@dataclass(frozen=True)
class SimilarItem:
    """An item and how near its text is.

    Attributes:
        item_id: of the item.
        title: as in the catalogue, if it has one.
        cosine: of the two vectors, −1 … 1.
    """

    item_id: str
    title: str | None
    cosine: float


def similar_items(
    paths: Workspace, project: str, item_id: str, k: int = 10, encoder: str = ""
) -> list[SimilarItem]:
    """Return the k items whose text is most like that of an item, the most similar first.

    Exact, and equally similar ones by id. One pass over the snapshot, a block at a time: memory is
    bounded whatever the catalogue's size.

    Args:
        paths: the workspace.
        project: Feast project.
        item_id: of the item.
        k: how many; fewer where the catalogue has fewer with text.
        encoder: slug of a further encoder; by default the main one.

    Raises:
        FeatureError: the project wasn't published, the item isn't known or has no text, or there
            is no such encoder.
        StorageError: the snapshot can't be fetched.
    """
    with _snapshot(paths, project) as path:
        column = _column(path, encoder)
        query = _vector(path, item_id, column)
        found = nearest(_blocks(path, column), query, k, without=item_id)
        titles = _titles(path, found)
    return [SimilarItem(each.item_id, titles[each.item_id], each.cosine) for each in found]


def open_similar(paths: Workspace, project: str, encoder: str = "") -> SimilarItems:
    """Load all vectors, to be asked many times in milliseconds; 1.5 GB for a million items.

    Args:
        paths: the workspace.
        project: Feast project.
        encoder: slug of a further encoder; by default the main one.

    Raises:
        FeatureError: the project wasn't published, or there is no such encoder.
        StorageError: the snapshot can't be fetched.
    """
    with _snapshot(paths, project) as path:
        blocks = list(_blocks(path, _column(path, encoder)))
    ids = [item for names, _ in blocks for item in names]
    return SimilarItems(ids, np.concatenate([vectors for _, vectors in blocks]))


@contextmanager
def _snapshot(paths: Workspace, project: str) -> Iterator[Path]:
    """Yield a local copy of the snapshot of `item_text`: itself, if it lies on this machine."""
    location = read_profile().offline_location(paths.features, project)
    if not is_s3(location):
        path = Path(location) / _FILE
        if not path.exists():
            raise _never_published(location, project)
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        store = open_store(location)
        if not store.exists(_FILE):
            raise _never_published(location, project)
        yield store.download(_FILE, Path(folder))[0]


def _column(path: Path, encoder: str) -> str:
    columns = pq.read_schema(path).names
    name = f"vector_{encoder}" if encoder else "vector"
    if name not in columns:
        others = [each.removeprefix("vector_") for each in columns if each.startswith("vector_")]
        raise FeatureError(
            f"the published item text has no vectors of an encoder {encoder!r}",
            f"there are those of {', '.join(others)}, and of the main one"
            if others
            else "there are only those of the main encoder; see features.text.also",
        )
    return name


def _vector(path: Path, item_id: str, column: str) -> NDArray[np.float32]:
    # Items are sorted by id, so the file's statistics lead to the one row group that matters.
    table = pq.read_table(
        path, columns=[column], filters=pc.field("item_id") == item_id, memory_map=True
    )
    if not table.num_rows:
        first = next(pq.ParquetFile(path).iter_batches(1, columns=["item_id"]), None)
        raise unknown(item_id, first["item_id"][0].as_py() if first else None)
    vector = np.array(table[column][0].as_py(), np.float32)
    if not vector.any():
        raise FeatureError(
            f"the item {item_id!r} has no text, so no item is similar to it by text",
            "give it a title or a text in the catalogue",
        )
    return vector


def _blocks(path: Path, column: str) -> Iterator[tuple[Sequence[str], NDArray[np.float32]]]:
    with pq.ParquetFile(path, memory_map=True) as file:
        for batch in file.iter_batches(BLOCK, columns=["item_id", column]):
            flat = batch.column(column).flatten()
            vectors = flat.to_numpy().reshape(batch.num_rows, -1)
            yield batch.column("item_id").to_pylist(), vectors


def _titles(path: Path, found: Sequence[Similar]) -> dict[str, str | None]:
    ids = pa.array([each.item_id for each in found], pa.string())
    table = pq.read_table(
        path,
        columns=["item_id", "title"],
        filters=pc.field("item_id").isin(ids),
        memory_map=True,
    )
    return dict(zip(table["item_id"].to_pylist(), table["title"].to_pylist(), strict=True))


def _never_published(location: str, project: str) -> FeatureError:
    return FeatureError(
        f"there are no published item features of the project {project!r} at {location}",
        "publish them first: `ostinato run`",
    )
