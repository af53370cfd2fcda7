"""How a rollout looks in a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table

from recommender.config import Config
from serving.rollout.state import Phase, State

_COLOURS = {"promote": "green", "hold": "yellow", "roll_back": "red"}
_SIGNS = {"promote": "✓", "hold": "?", "roll_back": "✗"}
_LATEST = 5


def view(state: State, config: Config, *, driven: bool) -> RenderableType:
    """Return one rollout: its steps, the latest findings, the latest moments.

    Args:
        state: of the rollout.
        config: for the soaks.
        driven: whether a process drives a rollout here.
    """
    parts: list[RenderableType] = [
        f"[bold]{state.candidate}[/] against {state.stable}  ({state.traffic}, {state.id})",
        _where(state, config, driven=driven),
        _track(state),
    ]
    if judged := state.judgements:
        parts.append(_findings(judged[-1]))
    timeline = Table.grid(padding=(0, 2))
    for moment in state.timeline[-_LATEST:]:
        clock = f"{datetime.fromisoformat(moment.time):%H:%M:%S}"
        timeline.add_row(clock, moment.phase.replace("_", " "), escape(moment.note))
    return Group(*parts, timeline)


def table(states: Sequence[State]) -> Table:
    """Return all rollouts, the latest last."""
    found = Table("when (UTC)", "candidate", "against", "by", "step", "end", "why", box=None)
    for state in states:
        began = f"{datetime.fromisoformat(state.timeline[0].time):%Y-%m-%d %H:%M}"
        step = state.plan.steps[state.step].percent if state.plan.steps else 0
        colour = {Phase.PROMOTED: "green", Phase.ROLLED_BACK: "red"}.get(state.phase, "yellow")
        end = f"[{colour}]{state.phase.replace('_', ' ')}[/]"
        why = escape(state.reason)
        row = (began, state.candidate, state.stable, state.traffic, f"{step} %", end, why)
        found.add_row(*row)
    return found


def _where(state: State, config: Config, *, driven: bool) -> str:
    if state.phase.final:
        colour = "green" if state.phase is Phase.PROMOTED else "red"
        return f"[bold {colour}]{state.phase.replace('_', ' ')}[/]: {escape(state.reason)}"
    told = f"[bold yellow]{state.phase.replace('_', ' ')}[/]"
    if state.phase is Phase.STEPPING:
        told += f" {state.plan.steps[state.step].percent} %, watched for {state.soaked_s:.0f} s"
        left = config.rollout.soak_of(state.step) - state.soaked_s
        told += f", soaks for {left:.0f} s more" if left > 0 else ""
    if not driven:
        told += (
            "; [red]nobody drives it[/]: `ostinato rollout start` goes on, `abort` takes it back"
        )
    return told


def _track(state: State) -> str:
    steps = []
    for index, step in enumerate(state.plan.steps):
        told = state.analyses[index]["verdict"] if index < len(state.analyses) else ""
        sign, colour = _SIGNS.get(told, "·"), _COLOURS.get(told, "dim")
        steps.append(f"[{colour}]{sign} {step.percent} %[/]")
    return "  →  ".join(steps)


def _findings(analysis: dict[str, Any]) -> Table:
    found = Table.grid(padding=(0, 2))
    for finding in analysis["findings"]:
        verdict = finding["verdict"]
        colour = _COLOURS[verdict]
        words = f"[{colour}]{_SIGNS[verdict]} {verdict.replace('_', ' ')}[/]"
        found.add_row(words, finding["guardrail"].replace("_", " "), escape(finding["reason"]))
    return found
