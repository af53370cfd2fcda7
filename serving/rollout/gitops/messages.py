"""Commit messages: what is changed, and the analysis that it rests on.

The last lines are trailers (`git log --format='%(trailers:key=Ostinato-Rollout)'`), so a rollout
can be found and read from the history alone.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from serving.rollout.gitops.shares import Shares
from serving.rollout.state import State

_WIDTH = 76
_ARMS = ("stable", "candidate")


class Step(StrEnum):
    """What a commit does."""

    START = "start"
    WEIGHT = "weight"
    PREPARE = "prepare"
    PROMOTE = "promote"
    ROLL_BACK = "roll_back"


def subject(step: Step, before: Shares, after: Shares) -> str:
    """Return the first line.

    Args:
        step: what the commit does.
        before: who was served.
        after: who is to be served.
    """
    candidate = after.candidate or before.candidate
    who = candidate.version if candidate else ""
    match step:
        case Step.START:
            return f"Start the canary of {who}"
        case Step.WEIGHT:
            return f"Give {who} {after.percent} % (had {before.percent} %)"
        case Step.PREPARE:
            return f"Make {who} ready, without traffic"
        case Step.PROMOTE:
            return f"Serve everybody {after.stable.version if after.stable else ''}"
        case _:
            return f"Take {who} back"


def message(step: Step, before: Shares, after: Shares, state: State | None) -> str:
    """Return a commit message.

    Args:
        step: what the commit does.
        before: who was served.
        after: who is to be served.
        state: of the rollout, with the verdicts up to here; None outside of one.
    """
    parts = [subject(step, before, after)]
    if state is not None and state.reason:
        parts.append(_filled(_sentence(state.reason)))
    analyses = state.analyses if state else ()
    # A step rests on the verdict before it; the end of a rollout on all of them.
    told = analyses if step in (Step.PROMOTE, Step.ROLL_BACK) else analyses[-1:]
    parts += [analysis(one) for one in told]
    parts.append(_trailers(step, before, after, state))
    return "\n\n".join(parts) + "\n"


def analysis(told: Mapping[str, Any]) -> str:
    """Return the analysis of one step as plain text: verdict, figures per arm, guardrails.

    Args:
        told: `Analysis.to_dict`, with the percent of the step.
    """
    head = f"At {told.get('percent', '?')} %: {told['verdict']}"
    lines = [_filled(f"{head}: {_sentence(told['reason'])}" if told.get("reason") else head)]
    arms: Mapping[str, Mapping[str, Any]] = told.get("arms") or {}
    columns = sorted({key for arm in arms.values() for key in arm}, key=_order)
    if columns:
        rows = [["", *(key.replace("_", " ") for key in columns)]]
        rows += [
            [arm, *(_number(arms[arm].get(key)) for key in columns)] for arm in _ARMS if arm in arms
        ]
        widths = [max(len(row[n]) for row in rows) for n in range(len(rows[0]))]
        lines.append("")
        lines += [
            "  " + "  ".join(
                cell.ljust(width) if n == 0 else cell.rjust(width)
                for n, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in rows
        ]  # fmt: skip
    for finding in told.get("findings") or ():
        lines.append("")
        lines.append(
            _filled(f"- {finding['guardrail']}: {finding['verdict']}: {finding['reason']}")
        )
        if numbers := _numbers(finding.get("numbers") or {}):
            lines.append(_filled(numbers, indent="    "))
    return "\n".join(lines)


def _numbers(numbers: Mapping[str, Any]) -> str:
    """Return the numbers of a finding; low and high as the interval that they are."""
    told = []
    if numbers.get("low") is not None or numbers.get("high") is not None:
        told.append(f"interval [{_number(numbers.get('low'))}, {_number(numbers.get('high'))}]")
    told += [
        f"{key.replace('_', ' ')} {_number(value)}"
        for key, value in numbers.items()
        if key not in ("low", "high") and value is not None
    ]
    return ", ".join(told)


def _trailers(step: Step, before: Shares, after: Shares, state: State | None) -> str:
    stable, candidate = after.stable or before.stable, after.candidate or before.candidate
    told = {
        "Rollout": state.id if state else "",
        "Step": step.value,
        "Stable": stable.version if stable else "",
        "Candidate": candidate.version if candidate else "",
        "Percent": str(after.percent) if after.candidate else "",
        "Verdict": str(state.analyses[-1]["verdict"]) if state and state.analyses else "",
    }
    return "\n".join(f"Ostinato-{key}: {_sentence(value)}" for key, value in told.items() if value)


def _order(key: str) -> tuple[int, str]:
    first = ("users", "errors", "outcomes", "hits", "hit_rate", "fallbacks", "p50_ms", "p95_ms")
    return (first.index(key) if key in first else len(first), key)


def _number(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _sentence(text: str) -> str:
    """Return a text in one line: nothing that was said elsewhere becomes a line of its own."""
    return " ".join(str(text).split())[:2000]


def _filled(text: str, indent: str = "") -> str:
    return textwrap.fill(
        _sentence(text),
        _WIDTH,
        initial_indent=indent,
        subsequent_indent=indent or "  ",
        break_long_words=False,
        break_on_hyphens=False,
    )
