"""What training and evaluation read: the event log, the catalogue, text vectors and the folds.

A folder: `log.parquet` (users as pseudonyms; `position` and `propensity` where they were logged;
codes of `surface` where surfaces are told apart), `items.parquet` (row order = tensor order),
`text.safetensors` (`vectors`, items × encoder width),
`attributes.parquet` (what people are grouped by and what the model reads of them, where the
configuration asks for it), `follows.parquet` (who follows whom, where that is known) and
`dataset.json`.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from recommender.errors import StorageError
from recommender.features.language import Language
from recommender.features.sequences import Catalogue, EventLog, Exposures
from recommender.files import atomic_directory, read_json, write_json
from recommender.split import Fold

ROW_GROUP = 2**17
"""Events of a row group of `log.parquet`: what a process that trains on a part reads at least."""


@dataclass(frozen=True)
class Dataset:
    """Everything a model may learn from.

    Attributes:
        log: events of all types; users are pseudonyms.
        items: the canonical item table in catalogue order.
        text: one vector per item, (I, W) float32.
        folds: the cuts of time, the candidate's last.
        data_version: of the canonical tables.
        encoder: name and revision of the text encoder.
        attributes: column `user` and one per attribute that evaluation groups people by or the
            model reads.
        languages: of the catalogue, and how much of each the text encoder knows.
        follows: who follows whom (`recommender.features.social.FOLLOWS`); None: not known.
    """

    log: EventLog
    items: pa.Table
    text: NDArray[np.float32]
    folds: tuple[Fold, ...]
    data_version: str
    encoder: str
    attributes: pa.Table | None = None
    languages: tuple[Language, ...] = ()
    follows: pa.Table | None = None

    @property
    def catalogue(self) -> Catalogue:
        """The items in tensor order."""
        return Catalogue(tuple(self.items["item_id"].to_pylist()))

    @property
    def titles(self) -> tuple[str, ...]:
        """What people read instead of an id, in tensor order; the id where there is no title."""
        pairs = zip(self.items["title"].to_pylist(), self.items["item_id"].to_pylist(), strict=True)
        return tuple(title or item for title, item in pairs)

    def write(self, folder: Path) -> None:
        """Write the folder, atomically."""
        with atomic_directory(folder) as temporary:
            log = self.log
            table = pa.table(
                {
                    "user": pa.DictionaryArray.from_arrays(
                        pa.array(log.user_of_event.astype(np.int32)), pa.array(log.users)
                    ),
                    "item": log.items,
                    "action": log.actions,
                    "time": log.times,
                    "value": log.values,
                }
            )
            if log.exposures is not None:
                table = table.append_column("position", pa.array(log.exposures.positions))
                chances = pa.array(log.exposures.propensities)
                table = table.append_column("propensity", chances)
            if log.surfaces is not None:
                table = table.append_column("surface", pa.array(log.surfaces))
            pq.write_table(
                table, temporary / "log.parquet", compression="zstd", row_group_size=ROW_GROUP
            )
            if self.attributes is not None:
                # Only of people who are in the log: who was taken out of it is taken out here.
                mine = pc.is_in(self.attributes["user"], pa.array(log.users, pa.string()))
                pq.write_table(self.attributes.filter(mine), temporary / "attributes.parquet")
            if self.follows is not None:
                # Both ends, for the same reason.
                known = pa.array(log.users, pa.string())
                ends = [pc.is_in(self.follows[end], known) for end in ("user", "followed_user")]
                both = self.follows.filter(pc.and_(*ends))
                pq.write_table(both, temporary / "follows.parquet")
            pq.write_table(self.items, temporary / "items.parquet", compression="zstd")
            save_file({"vectors": np.ascontiguousarray(self.text)}, temporary / "text.safetensors")
            described: dict[str, Any] = {
                "users": list(log.users),
                "offsets": log.offsets.tolist(),
                "folds": [fold.to_dict() for fold in self.folds],
                "data_version": self.data_version,
                "encoder": self.encoder,
                "languages": [asdict(each) for each in self.languages],
            }
            write_json(temporary / "dataset.json", described)

    @classmethod
    def read(
        cls, folder: Path, users: tuple[int, int] | None = None, *, beside: Dataset | None = None
    ) -> Dataset:
        """Read what `write` left.

        Args:
            folder: the data set's.
            users: read the log of users `users[0]` … `users[1] - 1` only, from the row groups
                that hold their events; everybody's by default.
            beside: another part of the same data set; all but the log is its own, and is not read
                again.

        Raises:
            StorageError: a file is missing or damaged.
        """
        described = read_json(folder / "dataset.json")
        offsets = np.array(described["offsets"], np.int64)
        first, stop = users or (0, len(described["users"]))
        try:
            table = _rows(folder / "log.parquet", int(offsets[first]), int(offsets[stop]))
            if beside is not None:
                people, follows = beside.attributes, beside.follows
                items, text = beside.items, beside.text
            else:
                attributes = folder / "attributes.parquet"
                people = pq.read_table(attributes) if attributes.exists() else None
                edges = folder / "follows.parquet"
                follows = pq.read_table(edges) if edges.exists() else None
                items = pq.read_table(folder / "items.parquet")
                text = load_file(folder / "text.safetensors")["vectors"]
        except Exception as error:
            raise StorageError(
                f"{folder} is not a readable feature set: {error}", "run the materialize step again"
            ) from error
        log = EventLog(
            tuple(described["users"][first:stop]),
            offsets[first : stop + 1] - offsets[first],
            table["item"].to_numpy(),
            table["action"].to_numpy(),
            table["time"].to_numpy(),
            table["value"].to_numpy(),
            exposures=Exposures(table["position"].to_numpy(), table["propensity"].to_numpy())
            if "propensity" in table.column_names
            else None,
            surfaces=table["surface"].to_numpy() if "surface" in table.column_names else None,
        )
        folds = tuple(Fold(**fold) for fold in described["folds"])
        return cls(
            log,
            items,
            text,
            folds,
            described["data_version"],
            described["encoder"],
            people,
            tuple(Language(**each) for each in described.get("languages", ())),
            follows,
        )


def _rows(path: Path, first: int, stop: int) -> pa.Table:
    """Read rows `first` … `stop - 1` of a Parquet file, from the row groups that hold them."""
    with pq.ParquetFile(path) as file:
        sizes = [file.metadata.row_group(place).num_rows for place in range(file.num_row_groups)]
        ends = np.cumsum([0, *sizes])
        held = [
            place for place in range(len(sizes)) if ends[place] < stop and ends[place + 1] > first
        ]
        table = file.read_row_groups(held)
    skipped = first - int(ends[held[0]]) if held else 0
    return table.slice(skipped, stop - first)
