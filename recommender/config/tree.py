"""The whole configuration: one frozen, validated tree."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Self

import yaml
from pydantic import Field, ValidationError, model_validator

from recommender.config.actions import ActionsConfig
from recommender.config.backend import BackendConfig
from recommender.config.distributed import DistributedConfig
from recommender.config.evaluation import EvaluationConfig
from recommender.config.features import FeaturesConfig
from recommender.config.model import ModelConfig
from recommender.config.quality import QualityConfig
from recommender.config.refresh import RefreshConfig
from recommender.config.registry import RegistryConfig
from recommender.config.rollout import RolloutConfig
from recommender.config.section import Section
from recommender.config.self_supervision import SelfSupervisionConfig
from recommender.config.serving import ServingConfig
from recommender.config.source import SourceConfig
from recommender.config.split import SplitConfig
from recommender.config.tracking import TrackingConfig
from recommender.config.training import TrainingConfig
from recommender.config.transfer import TransferConfig
from recommender.config.triggers import TriggersConfig
from recommender.config.tuning import TuningConfig
from recommender.errors import ConfigError
from recommender.workspace import Workspace


class Config(Section):
    """The whole configuration of one data set's pipeline."""

    name: str = Field(pattern=r"^[a-z]([-a-z0-9]{0,40}[a-z0-9])?$")
    """Name of the data set; also of its Feast project and workspace."""

    workspace: str = ""
    """Folder of everything a run leaves behind; default `.ostinato/<name>`."""

    seed: int = Field(7, ge=0)
    """Seed of everything random; same input and seed give the same model bytes on CPU."""

    source: SourceConfig
    """Where the raw data is and what its columns mean."""

    actions: ActionsConfig
    """What the event types mean."""

    quality: QualityConfig = QualityConfig()
    """What is expected of the data."""

    split: SplitConfig = SplitConfig()
    """Where time is cut."""

    features: FeaturesConfig = FeaturesConfig()
    """User sequences and item text."""

    model: ModelConfig = ModelConfig()
    """The shape of the unified Transformer."""

    training: TrainingConfig = TrainingConfig()
    """How the model is trained."""

    self_supervision: SelfSupervisionConfig = SelfSupervisionConfig()
    """What is learned beside what comes next."""

    transfer: TransferConfig = TransferConfig()
    """A model of another catalogue that training starts from."""

    tracking: TrackingConfig = TrackingConfig()
    """Where the figures of trainings are kept beside the run's own files."""

    refresh: RefreshConfig = RefreshConfig()
    """How the model in production is brought up to date between full trainings."""

    distributed: DistributedConfig = DistributedConfig()
    """Training by several processes."""

    tuning: TuningConfig = TuningConfig()
    """The search for settings."""

    evaluation: EvaluationConfig = EvaluationConfig()
    """What is measured, and what a candidate must show."""

    registry: RegistryConfig = RegistryConfig()
    """Where model versions lie."""

    serving: ServingConfig = ServingConfig()
    """The served endpoint on one machine."""

    rollout: RolloutConfig = RolloutConfig()
    """The canary."""

    backend: BackendConfig = BackendConfig()
    """The Kubeflow Pipelines backend that runs are sent to."""

    triggers: TriggersConfig = TriggersConfig()
    """What starts a run by itself."""

    @model_validator(mode="after")
    def _valued(self) -> Self:
        for value in self.model.ranking.values:
            if unknown := set(value.events) - set(self.actions.types):
                raise ValueError(
                    f"model.ranking.values: {value.name} names {sorted(unknown)}, not among "
                    "actions.types"
                )
        return self

    @model_validator(mode="after")
    def _judged(self) -> Self:
        if self.training.keep_by == "rmse" and not self.model.ranking.values:
            raise ValueError(
                "training.keep_by: rmse looks at the values of model.ranking.values, which has none"
            )
        if self.training.keep_by in ("auc", "both") and len(self.actions.types) < 2:
            raise ValueError(
                f"training.keep_by: {self.training.keep_by} tells event types apart, and "
                "actions.types has one"
            )
        return self

    @model_validator(mode="after")
    def _mapped(self) -> Self:
        if self.source.kind != "mapped":
            return self
        columns = self.source.items.columns
        for kind, held in (("numbers", columns.numbers), ("vectors", columns.vectors)):
            if unknown := sorted(set(getattr(self.model, kind)) - set(held)):
                raise ValueError(
                    f"model.{kind} names {unknown}, not in source.items.columns.{kind}"
                )
        return self

    @model_validator(mode="after")
    def _sharded(self) -> Self:
        if not self.distributed.shard_items:
            return self
        if self.distributed.launcher == "none":
            raise ValueError(
                "distributed.shard_items shares item tables out over processes; set "
                "distributed.launcher to torchrun or trainjob"
            )
        if self.training.loss == "full":
            raise ValueError(
                "distributed.shard_items: training.loss full reads every item in every step, so "
                "that no process could do with some of them; set training.loss to sampled or gbce"
            )
        if self.model.id_buckets:
            raise ValueError(
                "distributed.shard_items shares out a row per item, and model.id_buckets keeps "
                "none; set model.id_buckets to 0, or shard_items to false"
            )
        return self

    @property
    def paths(self) -> Workspace:
        """The folders of this data set's state, absolute."""
        return Workspace(Path(self.workspace or Path(".ostinato") / self.name).absolute())

    def with_one_cut(self) -> Config:
        """Return the configuration with the last of its rolling cuts alone, as a refresh needs it.

        The model that a refresh starts from has seen what lies behind the earlier ones.
        """
        one = self.split.model_copy(update={"folds": 1})
        return self.model_copy(update={"split": one})

    def to_json(self) -> str:
        """Return the tree as stable JSON, as it travels between pipeline steps."""
        return json.dumps(self.model_dump(mode="json"), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Config:
        """Read what `to_json` wrote."""
        return parse(json.loads(text), "the pipeline's config parameter")

    def fingerprint(self) -> str:
        """Return a short hash of every setting."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()[:12]


def parse(value: Any, where: str) -> Config:
    """Validate a plain tree.

    Raises:
        ConfigError: a key or a value is wrong; every one is named, with its path.
    """
    if not isinstance(value, dict):
        raise ConfigError(f"{where} is not a mapping of keys to values")
    try:
        return Config.model_validate(value)
    except ValidationError as error:
        lines = [f"  {_path(e['loc'])}: {_reason(e)}" for e in error.errors()]
        raise ConfigError(f"{where} is wrong:\n" + "\n".join(lines)) from None


def load(path: Path, overrides: dict[str, Any] | None = None) -> Config:
    """Read a YAML file.

    Args:
        path: the file.
        overrides: values by dotted key (`{"training.epochs": 2}`) that win over the file's.

    Raises:
        ConfigError: the file is missing, isn't YAML, or holds a wrong key or value.
    """
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path} does not exist", "configs/ holds the ones we ship") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid YAML: {error}") from None
    except OSError as error:
        raise ConfigError(f"{path} can't be read: {error.strerror or error}") from None
    tree = with_settings(tree, overrides or {}, str(path))
    return parse(tree, str(path))


def with_settings(tree: Any, settings: dict[str, Any], where: str) -> Any:
    """Set values by dotted key (`{"training.epochs": 2}`) in a plain tree, in place.

    Raises:
        ConfigError: a key leads through something that is no mapping.
    """
    for key, value in settings.items():
        node = tree
        *parents, leaf = key.split(".")
        for parent in parents:
            node = node.setdefault(parent, {}) if isinstance(node, dict) else None
        if not isinstance(node, dict):
            raise ConfigError(
                f"{where}: {key} can't be set, {key.rpartition('.')[0] or 'the file'} "
                "is not a mapping of keys to values"
            )
        node[leaf] = value
    return tree


def _path(location: tuple[int | str, ...]) -> str:
    if location[:1] == ("source",):
        # Pydantic names the kind of source here, which is no key of the file.
        location = (*location[:1], *location[2:])
    return ".".join(str(part) for part in location) or "(top)"


def _reason(error: Any) -> str:
    if error["type"] == "extra_forbidden":
        return "unknown key"
    if error["type"] == "missing":
        return "missing"
    text = str(error["msg"]).removeprefix("Value error, ")
    return text if isinstance(error["input"], dict) else f"{text} (got {error['input']!r})"
