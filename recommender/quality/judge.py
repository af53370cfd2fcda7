"""Running the suites with Great Expectations, and what they found in plain records."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from recommender.quality import offline
from recommender.quality.expect import MARKUP, Expectations, attributes, inert, number, percent


@dataclass(frozen=True)
class Suite:
    """One table to be judged.

    Attributes:
        name: of the table ("events"); also of the suite in the Data Docs.
        frame: the rows, with a plain index 0 … n - 1.
        expectations: made by `recommender.quality.suites`.
        shown: columns given with an example; empty for tables of one row.
    """

    name: str
    frame: pd.DataFrame
    expectations: Expectations
    shown: tuple[str, ...] = ()


@dataclass(frozen=True)
class Finding:
    """What became of one expectation.

    Attributes:
        suite, name: where, and in words.
        severity: what it means if it is broken.
        passed: whether it held.
        expected, observed: in words.
        count: rows that break it; None for figures of the whole log.
        rows: rows that were judged.
        examples: what breaks it: row number (from 0) and the columns that help to find it.
        why: what depends on it and what is done about it.
        setting: key of its limit in the configuration.
        expectation: Great Expectations' name of its kind.
    """

    suite: str
    name: str
    severity: Literal["critical", "warning"]
    passed: bool
    expected: str
    observed: str
    count: int | None
    rows: int | None
    examples: tuple[dict[str, str], ...]
    why: str
    setting: str
    expectation: str

    def to_dict(self) -> dict[str, Any]:
        """Return the finding as plain JSON values."""
        return {**asdict(self), "examples": list(self.examples)}


class Judge:
    """Runs suites in one Great Expectations context that lives in memory and calls nobody.

    Args:
        examples: at most this many per expectation.
        run_name: shown in the Data Docs; the data version.
        now: shown in the Data Docs as the time of the run.
    """

    def __init__(self, examples: int, run_name: str, now: datetime) -> None:
        from great_expectations.core.run_identifier import RunIdentifier
        from great_expectations.data_context.types.base import (
            DataContextConfig,
            InMemoryStoreBackendDefaults,
            ProgressBarsConfig,
        )

        gx = import_module("great_expectations")
        self._gx = gx
        self._examples = examples
        self._run_id = RunIdentifier(run_name=run_name, run_time=now)
        logging.getLogger("great_expectations").setLevel(logging.WARNING)
        self._context = gx.get_context(
            mode="ephemeral",
            project_config=DataContextConfig(
                store_backend_defaults=InMemoryStoreBackendDefaults(init_temp_docs_sites=False),
                progress_bars=ProgressBarsConfig(globally=False),
                analytics_enabled=False,
            ),
        )
        self._source = self._context.data_sources.add_pandas("canonical")
        self._verdicts: dict[str, bool] = {}

    def judge(self, suite: Suite) -> tuple[Finding, ...]:
        """Run one suite.

        Returns:
            A finding per expectation, in the suite's order.
        """
        asset = self._source.add_dataframe_asset(suite.name)
        made = self._gx.ExpectationSuite(name=suite.name, expectations=suite.expectations)
        definition = self._context.validation_definitions.add(
            self._gx.ValidationDefinition(
                name=suite.name,
                data=asset.add_batch_definition_whole_dataframe("all"),
                suite=self._context.suites.add(made),
            )
        )
        result = definition.run(
            batch_parameters={"dataframe": _inert(suite.frame)},
            result_format={
                "result_format": "SUMMARY",
                "partial_unexpected_count": self._examples,
            },
            run_id=self._run_id,
        )
        self._verdicts[suite.name] = bool(result.success)
        order = {id: place for place, id in enumerate(e.id for e in made.expectations)}
        found = sorted(result.results, key=lambda each: order[each.expectation_config.id])
        return tuple(_finding(each, suite) for each in found)

    def write_docs(self, folder: Path) -> None:
        """Write the Data Docs of all suites run so far into `folder`, readable offline.

        Raises:
            OSError: a page can't be written.
        """
        self._context.add_data_docs_site(
            site_name="docs",
            site_config={
                "class_name": "SiteBuilder",
                "site_name": "Data Docs",
                "show_how_to_buttons": False,
                "store_backend": {
                    "class_name": "TupleFilesystemStoreBackend",
                    "base_directory": str(folder),
                },
                "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
            },
        )
        with offline.loud():
            self._context.build_data_docs(site_names=["docs"])
        offline.settle(folder, self._verdicts)


def _inert(frame: pd.DataFrame) -> pd.DataFrame:
    """Return `frame` with texts that can't become markup: the Data Docs don't escape them."""
    texts = {
        name: _inert_column(frame[name])
        for name, kind in frame.dtypes.items()
        if isinstance(kind, pd.CategoricalDtype) or pd.api.types.is_string_dtype(kind)
    }
    return frame.assign(**{str(name): column for name, column in texts.items()})


def _inert_column(column: pd.Series[Any]) -> pd.Series[Any]:
    if isinstance(column.dtype, pd.CategoricalDtype):
        names = pd.Series(column.cat.categories, dtype=object)
        if not names.map(lambda name: name != inert(name)).any():
            return column
        return column.astype(object).map(inert, na_action="ignore")
    return column.astype(pd.StringDtype("pyarrow")).str.translate(MARKUP)


def _finding(result: Any, suite: Suite) -> Finding:
    config = result.expectation_config
    noted, values = attributes(config.meta), result.result
    raised = _raised(result.exception_info)
    count = values.get("unexpected_count")
    rows = values.get("element_count")
    judged = rows - (values.get("missing_count") or 0) if rows is not None else None
    if raised:
        # What could not be judged must not pass as a mere warning.
        severity, observed = "critical", f"could not be judged: {raised}"
    else:
        severity = config.severity.value
        observed = _observed(suite, config.kwargs.get("column", ""), count, judged)
    places = values.get("partial_unexpected_index_list") or []
    return Finding(
        suite=suite.name,
        name=noted["name"],
        severity="critical" if severity == "critical" else "warning",
        passed=bool(result.success) and not raised,
        expected=noted["expected"],
        observed=observed,
        count=count,
        rows=judged,
        examples=_examples(suite, config.kwargs.get("column", ""), places),
        why=noted["why"],
        setting=noted["setting"],
        expectation=config.type,
    )


def _observed(suite: Suite, column: str, count: int | None, judged: int | None) -> str:
    if not suite.shown:
        value = suite.frame[column].iloc[0]
        return value if isinstance(value, str) else number(float(value))
    if not judged:
        return "no row to judge"
    if not count:
        return f"none of {judged:,} rows breaks it"
    return f"{count:,} of {judged:,} rows break it ({percent(count / judged)})"


def _raised(info: dict[str, Any]) -> str:
    """Return the message of an exception inside Great Expectations, "" if there was none."""
    if "raised_exception" in info:
        return str(info["exception_message"]) if info["raised_exception"] else ""
    return "; ".join(str(each["exception_message"]) for each in info.values())


def _examples(suite: Suite, column: str, places: Sequence[int]) -> tuple[dict[str, str], ...]:
    names = [name for name in suite.shown if name in suite.frame.columns]
    if suite.shown and column in suite.frame.columns and suite.frame[column].dtype != bool:
        names += [column] if column not in names else []
    if not names:
        return ()
    return tuple(
        {"row": str(place), **{name: _text(suite.frame[name].iloc[place]) for name in names}}
        for place in places
    )


def _text(value: Any) -> str:
    if pd.isna(value):
        return "(missing)"
    return (
        value.isoformat(timespec="milliseconds") if isinstance(value, pd.Timestamp) else str(value)
    )
