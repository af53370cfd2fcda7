"""The data of one process of a group: its lanes of people, and what all must know."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from recommender.config import Config
from recommender.errors import ConfigError, TrainingError
from recommender.features.dataset import Dataset
from recommender.files import read_json
from recommender.model.people import Attribute, PeopleCodes
from recommender.model.values import joined_spread, spread_of
from recommender.scoring import Scorer
from recommender.split import Fold
from recommender.training.checkpoint import Checkpoints
from recommender.training.distributed.checkpoints import SharedCheckpoints
from recommender.training.distributed.facts import Facts
from recommender.training.distributed.lanes import LaneCounts, LaneFeed, own_lanes, user_ranges
from recommender.training.distributed.ranks import Ranks
from recommender.training.distributed.sharing import SharedScorer, SharingRanks
from recommender.training.examples import Examples
from recommender.training.fresh_module import fresh_module
from recommender.training.ground import Start
from recommender.training.identity import code_version, settings_digest
from recommender.training.log_read import examples_of, log_read, people_before
from recommender.training.pretraining import objective_of
from recommender.training.validation import Judged, Validation

_READ = (
    "attributes.parquet",
    "dataset.json",
    "items.parquet",
    "log.parquet",
    "text.safetensors",
)


def fingerprint_of_folder(folder: Path, fold: Fold, config: Config) -> str:
    """Return the name of a training in lanes, 16 hex digits.

    How many processes there are has no part in it, and none in the weights.

    Args:
        folder: of the data set.
        fold: the cuts of time.
        config: the whole tree.
    """
    digest = hashlib.sha256(b"lanes")
    digest.update(settings_digest(fold, config))
    digest.update(config.features.model_dump_json().encode())
    for path in (folder / name for name in _READ):
        if path.exists():
            with path.open("rb") as stream:
                digest.update(hashlib.file_digest(stream, "sha256").digest())
    digest.update(code_version().encode())
    return digest.hexdigest()[:16]


@dataclass(frozen=True)
class LaneValidation:
    """The requests of this process's lanes; their figure is that of all processes.

    Attributes:
        own: the requests of each lane.
        ranks: the group.
        requests: of all processes.
        users: of all processes.
    """

    own: tuple[Validation, ...]
    ranks: Ranks
    requests: int
    users: int

    @classmethod
    def of(cls, own: tuple[Validation, ...], ranks: Ranks) -> LaneValidation:
        """Count the requests of all."""
        told = ranks.summed(
            [float(sum(len(each) for each in own)), float(sum(each.users for each in own))]
        )
        return cls(own, ranks, round(told[0]), round(told[1]))

    def __len__(self) -> int:
        return self.requests

    def judge(self, scorer: Scorer) -> Judged:
        """Judge by the mean NDCG@10 over the users of all processes; 0 where nobody asks."""
        total = sum(each.ndcg(scorer) * each.users for each in self.own)
        if isinstance(scorer, SharedScorer):
            scorer.finish(self.own[0].histories.slice(0, 0))
        ndcg = self.ranks.summed([total])[0] / max(1, self.users)
        return Judged(ndcg, ndcg=ndcg)


class LaneGround:
    """A data set's folder, read by a group; a `recommender.training.ground.Ground`.

    Args:
        folder: of the data set.
        place: which of its folds is trained for.
        config: the whole tree.
        ranks: the group.
        checkpoints: of this training, as the first process reaches them.

    Raises:
        ConfigError: more processes, or lanes, than can be given something to do.
        StorageError: the data set can't be read.
    """

    def __init__(
        self, folder: Path, place: int, config: Config, ranks: Ranks, checkpoints: Checkpoints
    ) -> None:
        described = read_json(folder / "dataset.json")
        if config.self_supervision.pretraining_epochs:
            raise ConfigError(
                "pretraining is the work of one process",
                "set self_supervision.pretraining_epochs to 0, so that its losses are added to "
                "those of training, or distributed.launcher: none",
            )
        if config.training.keep_by != "ndcg":
            raise ConfigError(
                f"training.keep_by: {config.training.keep_by} is found out by one process",
                "set training.keep_by: ndcg, or distributed.launcher: none",
            )
        self.fold = Fold(**described["folds"][place])
        shards, lanes = config.distributed.shard_items, config.training.accumulate
        self.team = SharingRanks(ranks.rank, ranks.size, ranks.device, lanes) if shards else ranks
        self.checkpoints = SharedCheckpoints(checkpoints, ranks, shards=shards)
        self._folder = folder
        self._config = config
        self._lanes = lanes
        self._ranges = user_ranges(np.array(described["offsets"], np.int64), self._lanes)
        # The catalogue is there once, however many lanes are this process's.
        first, *others = own_lanes(self._lanes, ranks.rank, ranks.size)
        parts = {first: Dataset.read(folder, self._ranges[first])}
        for lane in others:
            parts[lane] = Dataset.read(folder, self._ranges[lane], beside=parts[first])
        self._parts: Mapping[int, Dataset] = parts
        if shards and len(self.dataset.catalogue) < ranks.size:
            raise ConfigError(
                f"{len(self.dataset.catalogue)} items can't be shared out over {ranks.size} "
                "processes",
                "set distributed.shard_items to false",
            )

    @property
    def dataset(self) -> Dataset:
        """The data set, with the log of one lane."""
        return next(iter(self._parts.values()))

    def validation(self) -> LaneValidation:
        """Return the requests after each epoch; every lane has the same share of the users."""
        config = self._config
        own = tuple(
            Validation.build(
                log_read(part, config),
                self.fold.validation_start,
                self.fold.test_start,
                len(part.catalogue),
                config.actions,
                config.features.history_limit,
                config.evaluation.requests_per_user,
                -(-config.training.validation_users // self._lanes),
            )
            for part in self._parts.values()
        )
        return LaneValidation.of(own, self.team)

    def start(self, cut: int) -> Start:
        """Return where a phase begins that learns from what lies before `cut`.

        Raises:
            TrainingError: a lane has nothing to learn from.
        """
        config = self._config
        facts, people = self._facts(cut), self._people(cut)
        # How popular items were is told by the facts; what a lane could tell is not worked out.
        alone = config.model_copy(
            update={"training": config.training.model_copy(update={"popularity_slices": 1})}
        )
        examples = {}
        for lane, part in self._parts.items():
            try:
                examples[lane] = facts.told_to(examples_of(part, cut, alone, people))
            except TrainingError as error:
                first, stop = self._ranges[lane]
                raise TrainingError(
                    f"lane {lane + 1} of {self._lanes}, users {first} to {stop - 1}: "
                    f"{error.message}",
                    "lower training.accumulate, which is the number of lanes",
                ) from error
        some = next(iter(examples.values()))
        targets_I = self.team.counted(
            np.sum([np.bincount(e.item, minlength=len(e.known)) for e in examples.values()], axis=0)
        )
        training = config.training
        feed = LaneFeed(
            examples,
            LaneCounts(self._lanes, self.team.counted),
            training.tokens_per_batch,
            config.seed,
        )
        spread_G4 = self._spread(examples) if config.model.ranking.values else None
        module = fresh_module(self.dataset, some, config, people, spread_G4)
        return Start(some, module, feed, objective_of(some, config, targets_I))

    def _spread(self, examples: Mapping[int, Examples]) -> torch.Tensor:
        """Return how the values of all lanes lie, (G, 4), whichever process holds which lane."""
        own = {lane: spread_of(torch.from_numpy(each.value)) for lane, each in examples.items()}
        some = next(iter(own.values()))
        lanes_LG4 = some.new_zeros(self._lanes, *some.shape)
        for lane, spread_G4 in own.items():
            lanes_LG4[lane] = spread_G4
        # To nought added is exact, so the lanes are always summed in the same order.
        told = self.team.summed(lanes_LG4.flatten().tolist())
        return joined_spread(some.new_tensor(told).reshape(lanes_LG4.shape))

    def _facts(self, cut: int) -> Facts:
        """Return what all must know; the first process looks at every lane, one by one."""
        config, own = self._config, None
        if self.team.rank == 0:
            facts = Facts.build(
                (self._part(users).log for users in self._ranges),
                cut,
                self.dataset.items,
                config,
            )
            own = {
                "known": torch.from_numpy(facts.known),
                "moments": torch.from_numpy(facts.moments),
                "popularity": torch.from_numpy(facts.popularity),
                "latest": torch.from_numpy(facts.latest),
            }
        told = {name: value.numpy() for name, value in self.team.tensors(own).items()}
        return Facts(told["known"], told["moments"], told["popularity"], told["latest"])

    def _part(self, users: tuple[int, int]) -> Dataset:
        return Dataset.read(self._folder, users, beside=self.dataset)

    def _people(self, cut: int) -> PeopleCodes | None:
        """Return what is read of people; the first process looks at everybody."""
        names = self._config.model.user_attributes
        if not names:
            return None

        def learned() -> list[list[Any]]:
            known: list[Mapping[str, str] | None] = []
            for users in self._ranges:
                part = self._part(users)
                known += people_before(log_read(part, self._config), cut)
            codes = PeopleCodes.learned(known, names)
            return [[each.name, each.values, each.edges] for each in codes.attributes]

        return PeopleCodes(
            tuple(
                Attribute(name, tuple(values), tuple(edges))
                for name, values, edges in self.team.told(learned)
            )
        )
