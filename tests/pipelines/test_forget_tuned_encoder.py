"""A text encoder that is tuned on what people do: forgetting one of them ends its use."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from forget_world import ACTIONS, SYNTHETIC
from tables_by_hand import configuration
from tiny_encoder import tiny_encoder

from components.materialize import step as materialize
from pipelines.forget.work import forget
from recommender.config import Config, parse
from recommender.errors import FeatureError
from recommender.forgetting.encoders import refuse_marked
from recommender.quality.accepted import Accepted, accept
from recommender.quality.statistics import Statistics
from recommender.registry import Registry
from recommender.registry.encoders import EncoderLineage, encoder_version
from recommender.sources.versions import hand_over, ingest
from recommender.tables import Tables
from recommender.training.text_encoder import Tuned, tune_configured

USER = "u00003"
TUNING = {"rank": 2, "steps": 2, "batch_size": 4}


def reading(config: Config, folder: Path, revision: str) -> Config:
    """Return the configuration with another encoder."""
    tree = config.model_dump(mode="json")
    tree["features"]["text"] |= {"encoder": str(folder), "revision": revision}
    return parse(tree, "test")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_tuned_encoder_goes_with_whom_it_saw_and_can_be_tuned_again(tmp_path: Path) -> None:
    base = tmp_path / "base"
    text = {"encoder": str(base), "revision": tiny_encoder(base), "threads": 1, "tuning": TUNING}
    config = configuration(
        tmp_path / "workspace", source=SYNTHETIC, actions=ACTIONS, features={"text": text}
    )
    ingested = ingest(config)
    version, tables = ingested.name, Tables.read(ingested.folder)
    hand_over(ingested, tmp_path / "clean")
    moment = datetime.now(UTC).isoformat(timespec="seconds")
    statistics = Statistics.of(tables, config.actions)
    accept(config.paths.data, Accepted(version, moment, statistics))

    def tuned(name: str, of: Config = config) -> Tuned:
        return tune_configured(of, tmp_path / name)

    made = tuned("tuned")
    came = EncoderLineage.of_folder(tmp_path / "tuned")
    assert came is not None
    assert came.data_versions == (version,)
    assert came.base == f"base@{text['revision']}"
    mine = reading(config, tmp_path / "tuned", made.revision)
    refuse_marked(mine)
    further = tuned("further", mine)
    on_it = EncoderLineage.of_folder(tmp_path / "further")
    assert on_it is not None
    assert on_it.data_versions == (version, version)

    told = forget(mine, USER)
    both = {encoder_version(each.revision) for each in (made, further)}
    assert set(told.models) == both
    for marked in both:
        (mark,) = Registry.of(config.paths).encoders.marks(marked)
        assert (mark.ticket, mark.data_version, mark.certain) == (told.ticket, version, True)
    made_of = tmp_path / "dataset"
    with pytest.raises(SystemExit, match="in which people are who were forgotten since"):
        materialize.run(mine.model_dump_json(), "run-2", str(tmp_path / "clean"), str(made_of))
    assert not made_of.exists()
    with pytest.raises(FeatureError, match="forgotten since"):
        tuned("again", mine)

    # Tuned again from where it began, on what is left, it saw nobody who is gone.
    again = tuned("again")
    refuse_marked(reading(config, tmp_path / "again", again.revision))
    left = EncoderLineage.of_folder(tmp_path / "again")
    assert left is not None
    assert left.data_versions != (version,)
    assert forget(config, USER).models == told.models
