"""One page that says whether the candidate is good enough, and lets a person check it.

The page needs nothing but itself: no network, no script, no other file.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from recommender.evaluation import findings_picture, forecast_picture
from recommender.evaluation.evidence import Evidence, Interval
from recommender.evaluation.gate import Decision
from recommender.evaluation.picture import draw
from recommender.files import atomic_file

FILE = "evaluation.html"
_TEMPLATES = Path(__file__).parent / "templates"
_VERDICTS = {
    "pass": ("Pass", "✓"),
    "fail": ("Fail", "✗"),
    "insufficient": ("Insufficient data", "?"),
    "pending": ("Not judged yet", "…"),
}
_METRICS = {
    "ndcg": "NDCG: how high the taken items stand in the list; 1 is a perfect order",
    "hr": "HR, hit rate: share of requests whose list holds a taken item",
    "mrr": "MRR: one over the place of the first taken item",
    "map": "MAP: precision at each taken item's place, averaged",
    "recall": "Recall: share of the taken items that the list holds",
    "precision": "Precision: share of the list that was taken",
}


def render(evidence: Evidence, decision: Decision | None) -> str:
    """Return the page; without a decision it says that the gate hasn't judged yet."""
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        number=_number,
        interval=_interval,
        moment=_moment,
        metric=str.upper,
        count=_count,
        share=_share,
        percent=_percent,
        plain=_plain,
        day=_day,
        signed=_signed,
        chance=findings_picture.p_value,
    )
    word, sign = _VERDICTS[decision.verdict if decision else "pending"]
    if decision and decision.action == "keep champion":
        word, sign = "Nothing new", "="
    candidate = evidence.systems[0]
    return environment.get_template("evaluation.html.j2").render(
        evidence=evidence,
        decision=decision,
        verdict=decision.verdict if decision else "pending",
        word=word,
        sign=sign,
        verdicts=_VERDICTS,
        candidate=candidate,
        picture=draw(evidence, decision),
        foreseen=forecast_picture.draw(evidence.backtest),
        helped=forecast_picture.helped(evidence),
        findings=evidence.findings,
        forests=findings_picture.forests(evidence.findings) if evidence.findings else (),
        logged=findings_picture.logged(evidence.findings.off_policy) if evidence.findings else None,
        curves=[findings_picture.curve(head) for head in evidence.findings.heads]
        if evidence.findings
        else [],
        weekly=findings_picture.weekly(evidence.findings.long_term)
        if evidence.findings and evidence.findings.long_term
        else None,
        at_ten=[name for name in evidence.metrics if name.endswith("@10")],
        glossary=[
            _METRICS[name] for name in dict.fromkeys(m.split("@")[0] for m in evidence.metrics)
        ],
        config=yaml.safe_dump(evidence.config, sort_keys=False, allow_unicode=True),
    )


def write(path: Path, evidence: Evidence, decision: Decision | None) -> None:
    """Write the page to `path`, atomically."""
    with atomic_file(path) as temporary:
        temporary.write_text(render(evidence, decision), encoding="utf-8")
        temporary.chmod(0o644)


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"


def _interval(found: Interval) -> str:
    return f"{_number(found.low)} – {_number(found.high)}"


def _signed(value: float | None) -> str:
    return "–" if value is None else f"{value:+.4f}"


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:+.1%}"


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value:.1%}"


def _plain(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}" if abs(value) < 100 else f"{value:,.0f}"


def _day(milliseconds: int) -> str:
    return f"{datetime.fromtimestamp(milliseconds / 1000, UTC):%Y-%m-%d}"


def _moment(milliseconds: int) -> str:
    return f"{datetime.fromtimestamp(milliseconds / 1000, UTC):%Y-%m-%d %H:%M} UTC"


def _count(value: Any) -> str:
    return f"{value:,}"
