"""What is expected of the log as a whole: volume, time, drift against the accepted version."""

from __future__ import annotations

from recommender.config import Config
from recommender.quality.expect import Expectations, fact, figure, kinds

_LOG = (
    ("events", "log: events of the history types", "The model learns from these."),
    ("users", "log: users with such events", "One user can't be split, judged or compared."),
    ("items", "log: items with such events", "With one item there is nothing to rank."),
    (
        "distinct_times",
        "log: different moments",
        "Past and future are cut by time; events all at one time have neither.",
    ),
    ("absent_types", "log: configured types without any event", "Perhaps a name is misspelt."),
    (
        "largest_gap",
        "log: longest silence, as a share of the log's length",
        "A hole in the log, or single events at a wrong time.",
    ),
    (
        "steps_back",
        "log: share of the steps that go back in time",
        "From one event of a user to the next, in the order of the source. Rows are sorted here, "
        "but times can only be interpolated where they run forward.",
    ),
    (
        "removed",
        "log: share of the events that had to be removed",
        "For all reasons together; the table of removed rows says which.",
    ),
)

_DRIFT = (
    (
        "events_kept",
        "drift: events, as a multiple of the accepted version's",
        "Was the export cut short?",
    ),
    (
        "users_kept",
        "drift: users, as a multiple of the accepted version's",
        "Were users lost, or their ids renumbered?",
    ),
    (
        "items_kept",
        "drift: items, as a multiple of the accepted version's",
        "Was the catalogue cut short?",
    ),
    ("growth", "drift: growth of the events", "Perhaps rows were loaded twice."),
    ("event_mix", "drift: mix of event types (PSI)", "0 is the same; .1 to .25 is a clear shift."),
    (
        "popularity",
        "drift: item popularity (Jensen–Shannon distance)",
        "0 is the same, 1 has nothing in common; perhaps item ids were renumbered.",
    ),
    (
        "value_mean",
        "drift: mean value, in standard deviations",
        "Perhaps another unit or scale.",
    ),
)


def log_suite(config: Config, compared: frozenset[str]) -> Expectations:
    """Expect a log that is large, dense and stable enough, after cleaning.

    Args:
        config: `quality` is read.
        compared: the drift figures there are; none for the first version.
    """
    gxe = kinds()

    quality = config.quality
    made: Expectations = []
    for column, name, why in _LOG:
        limit = getattr(quality.log, column)
        made += figure(name, why, f"quality.log.{column}", limit, column)
    made += fact(
        gxe.ExpectColumnValuesToBeInSet,
        "log: it can be cut into train, validation and test",
        "as configured in split",
        "Every part must hold events of the history types.",
        column="can_be_cut",
        value_set=["yes"],
    )
    for column, name, why in _DRIFT:
        if column in compared:
            limit = getattr(quality.drift, column)
            made += figure(name, why, f"quality.drift.{column}", limit, column)
    return made
