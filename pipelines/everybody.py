"""Lists for everybody from the champion, as a Parquet file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq

from feature_repo.history_as_of import accepted_data
from recommender.artifact import Model
from recommender.batch import SCHEMA, recommend_all
from recommender.config import Config
from recommender.errors import ArtifactError
from recommender.features.sequences import EventLog
from recommender.features.snapshots import up_to_now
from recommender.features.user_social import user_social
from recommender.files import atomic_file
from recommender.followed_took import FOLLOWED_TOOK, attribute_of, took_in
from recommender.privacy import pseudonyms
from recommender.registry import Registry
from recommender.tables import Tables


def write(config: Config, out: Path, k: int, *, plain_ids: bool) -> tuple[int, str]:
    """Write a list for every user of the accepted data, streamed in blocks.

    Args:
        config: of the data set.
        out: the Parquet file; it is there whole or not at all.
        k: length of the lists.
        plain_ids: write the source's user ids instead of pseudonyms.

    Returns:
        how many users, and the model's version.

    Raises:
        ArtifactError: there is no champion yet.
        FeatureError: no data was accepted yet.
    """
    registry = Registry.configured(config)
    version = registry.champion()
    if version is None:
        raise ArtifactError("there is no champion to ask", "run the pipeline first: `ostinato run`")
    model = Model.load(registry.fetch(version))
    tables = accepted_data(config).tables
    catalogue = model.scorer.catalogue
    # Items that came after the model was trained are unknown to it, here as in the endpoint.
    events = tables.events.filter(catalogue.rows(tables.events["item_id"]) >= 0)
    log = EventLog.build(events, catalogue, model.actions)
    now = up_to_now(tables)
    people = known_of_people(model, tables, config, now)
    if people:
        log = replace(log, people=tuple(people.get(user) for user in log.users))
    if not plain_ids:
        log = replace(log, users=pseudonyms(config.paths.keys).of_all(log.users))
    with (
        atomic_file(out) as temporary,
        pq.ParquetWriter(temporary, SCHEMA, compression="zstd") as writer,
    ):
        for batch in recommend_all(model, log, now, k, history_limit=config.features.history_limit):
            writer.write_batch(batch)
    return len(log.users), version


def known_of_people(
    model: Model, tables: Tables, config: Config, as_of: int
) -> dict[str, dict[str, str]]:
    """Return by user what a model reads of people: as the endpoint, what the feature store knows.

    Args:
        model: that reads it, or answers people without a history by it; nothing if neither.
        tables: canonical.
        config: of the data set.
        as_of: UTC milliseconds; nothing at or after it is told.
    """
    cold = model.cold
    if not model.reads_profiles and not (cold is not None and cold.reads_profiles):
        return {}
    columns = (tables.users[name].to_pylist() for name in ("user_id", "attributes"))
    people = {user: dict(told or ()) for user, told in zip(*columns, strict=True)}
    if cold is not None and cold.reads_follows:
        for row in user_social(tables, config, as_of).to_pylist():
            took = attribute_of(took_in(row["followed"]))
            people.setdefault(row["user_id"], {})[FOLLOWED_TOOK] = took
    return people
