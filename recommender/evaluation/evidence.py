"""What was found out about a candidate, as it is written down (`evaluation.json`)."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from recommender.errors import ArtifactError, StorageError
from recommender.evaluation.backtest_facts import BacktestFacts
from recommender.evaluation.findings import Findings
from recommender.evaluation.records import Interval as Interval
from recommender.evaluation.records import Record as Record
from recommender.files import read_json, write_json

CANDIDATE = "candidate"
CHAMPION = "champion"
FILE = "evaluation.json"


class FoldFacts(Record):
    """A test window, who was in it, and which model was tested in it."""

    test_start: int
    test_end: int
    users: int
    requests: int


class SetFacts(Record):
    """The frozen evaluation set."""

    version: str
    data_version: str
    users: int
    requests: int
    items: int
    unscored_users: int
    unscored_examples: dict[str, str]
    counts: dict[str, int]
    exclude_seen: bool
    history_limit: int
    folds: tuple[FoldFacts, ...]


class System(Record):
    """A model and its metrics over all folds' users (the champion: over the last fold's).

    Attributes:
        name: of the system.
        kind: of its artifact.
        users: that the metrics are means over.
        metrics: by name.
        nonfinite_scores: NaN or infinite; such items were ranked last.
        tied_lists: lists with equal scores in them; those items are in the catalogue's order.
    """

    name: str
    kind: str
    users: int
    metrics: dict[str, Interval]
    nonfinite_scores: int
    tied_lists: int = 0


class Comparison(Record):
    """The candidate against one rival, on the same users.

    Attributes:
        rival: its name.
        users: how many stand behind every number here.
        candidate: the candidate's metrics on these users.
        rival_metrics: the rival's.
        difference: candidate minus rival.
        relative: that over the rival's; not defined where the rival may be at zero.
        detectable: the smallest true difference that this many users show with 80 % power.
        p: of "no difference", metric by metric (paired t-test over users); None for one user.
        adjusted: the same, corrected over all metrics of this comparison (Holm).
    """

    rival: str
    users: int
    candidate: dict[str, Interval]
    rival_metrics: dict[str, Interval]
    difference: dict[str, Interval]
    relative: dict[str, Interval]
    detectable: dict[str, float | None]
    p: dict[str, float | None] = Field(default_factory=dict)
    adjusted: dict[str, float | None] = Field(default_factory=dict)


class ChampionFacts(Record):
    """The model in production, re-scored on the last fold.

    Attributes:
        version: in the registry.
        kind: of its artifact.
        test_start: the moment (UTC ms) from which on it saw nothing.
        saw_the_test: whether that is after our test window began, which favours it.
        missing_items: items of our catalogue that it doesn't know; ranked last.
        unknown_items: items that it ranks and our catalogue lacks; left out.
        identical: the candidate has the very same bytes, or recommended the same lists to
            every test request; None where it differs.
        to_replace: people it was trained on who have asked to be forgotten since: it must be
            replaced by a version that never saw them.
    """

    version: str
    kind: str
    test_start: int
    saw_the_test: bool
    missing_items: int
    identical: Literal["bytes", "lists"] | None
    to_replace: int = 0
    unknown_items: int = 0


class LanguageFacts(Record):
    """A language of the catalogue, and whether quality in it means anything.

    Attributes:
        name: see `recommender.features.language.Language`.
        items: with text in it.
        unknown_rate: share of their tokens that the text encoder doesn't know.
        reported: whether the encoder knows the language; quality in one that it doesn't know is
            not reported, because what would be judged is the encoder.
    """

    name: str
    items: int
    unknown_rate: float
    reported: bool


class Evidence(Record):
    """Everything that the gate judges and the report shows.

    `backtest` and `forecast_popularity` (the rival `trend-popularity` in the place of the
    candidate, against `recent-popularity`) are for people: no rule of the gate reads them.
    """

    format: Literal[1] = 1
    run_id: str
    config: dict[str, Any]
    config_fingerprint: str
    candidate_version: str
    encoder: str
    evaluation_set: SetFacts
    metrics: tuple[str, ...]
    primary: str
    confidence: float
    resamples: int
    seed: int
    systems: tuple[System, ...]
    comparisons: tuple[Comparison, ...]
    champion: ChampionFacts | None
    backtest: BacktestFacts | None = None
    forecast_popularity: Comparison | None = None
    findings: Findings | None = None
    languages: tuple[LanguageFacts, ...] = ()

    def system(self, name: str) -> System | None:
        """Return a system by its name, if it was measured."""
        return next((system for system in self.systems if system.name == name), None)

    def comparison(self, rival: str) -> Comparison | None:
        """Return the comparison with a rival, if it was made."""
        return next((found for found in self.comparisons if found.rival == rival), None)

    def write(self, folder: Path) -> None:
        """Write `evaluation.json` into `folder`."""
        write_json(folder / FILE, self.model_dump(mode="json"))

    @classmethod
    def read(cls, folder: Path) -> Evidence:
        """Read what `write` left.

        Raises:
            ArtifactError: it is missing, or not an evaluation of a format that we know.
        """
        try:
            return cls.model_validate(read_json(folder / FILE))
        except StorageError as error:
            raise ArtifactError(error.message, "run the evaluate step first") from error
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise ArtifactError(
                f"{folder / FILE} is not an evaluation of format 1: {where}: {first['msg']}",
                "run the evaluate step again with this version of the code",
            ) from None
