"""The tables of `ostinato bench`, for people and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

from recommender.config import Config
from recommender.config.evaluation import PRIMARY
from recommender.evaluation.contest import Contest
from recommender.evaluation.records import Interval, rounded
from recommender.evaluation.shown_contest import Shown
from recommender.files import write_json

if TYPE_CHECKING:
    from pipelines.bench import Benched

_FEW = 500
_HALF_GAP = len("+0.0000 (+0.0000")


def write(found: Benched, config: Config, out: Path) -> None:
    """Write `bench.json`: the tables, the settings, and what stands behind the figures."""
    told: dict[str, Any] = {"config": config.model_dump(mode="json", exclude={"workspace"})}
    if found.contest is not None:
        told |= _finders(found.contest)
    if found.shown:
        told["shown"] = [_ranker(row, found) for row in found.shown]
    write_json(out, told)


def _finders(contest: Contest) -> dict[str, Any]:
    panel = contest.panel
    systems = {system.name: system for system in panel.systems}
    against = {found.rival: found for found in panel.comparisons}
    rows = [
        {
            "system": name,
            **{"kind": cost.kind, "cpu_s": cost.cpu_s, "answer_ms": cost.answer_ms},
            "numbers": cost.numbers,
            "metrics": {
                metric: interval.model_dump(mode="json")
                for metric, interval in systems[name].metrics.items()
            },
            "first_minus_it": against[name].difference[PRIMARY].model_dump(mode="json")
            if name in against
            else None,
            "detectable": against[name].detectable[PRIMARY] if name in against else None,
        }
        for name, cost in contest.costs.items()
    ]
    return {
        "users": len(panel.users),
        "requests": len(panel.rows),
        "users_by_fold": list(contest.folds),
        "systems": rows,
    }


def _ranker(row: Shown, found: Benched) -> dict[str, Any]:
    cost = found.costs.get(row.system)
    figures = {name: rounded(getattr(row, name)) for name in ("user_auc", "auc", "log_loss")}
    return {
        **{"system": row.system, "event": row.event, "cases": row.cases},
        **{"positives": row.positives, "users": row.users, **figures},
        "first_minus_it": row.gap.model_dump(mode="json") if row.gap else None,
        "cpu_s": cost.cpu_s if cost else None,
        "numbers": cost.numbers if cost else None,
    }


def show(contest: Contest, screen: Console) -> None:
    """Print what systems find in the catalogue, the best first."""
    panel = contest.panel
    first = next(iter(contest.costs))
    against = {found.rival: found for found in panel.comparisons}
    screen.print(
        f"{len(panel.users):,} users, {len(panel.rows):,} requests in {len(contest.folds)} "
        f"cut(s), {len(panel.requests.catalogue):,} items ranked",
        highlight=False,
    )
    names = ("system", "NDCG@10", "HR@10", f"{first} − it", "CPU s", "learned", "ms")
    rows = []
    for system in sorted(panel.systems, key=lambda s: -(s.metrics[PRIMARY].estimate or 0)):
        cost = contest.costs[system.name]
        ndcg, hits = system.metrics[PRIMARY], system.metrics["hr@10"]
        duel = against.get(system.name)
        rows.append(
            (
                system.name,
                f"{ndcg.estimate:.4f}",
                f"{hits.estimate:.4f}",
                _gap(duel.difference[PRIMARY] if duel else None),
                f"{cost.cpu_s:.0f}",
                f"{cost.numbers:,}",
                "" if cost.answer_ms is None else f"{cost.answer_ms:.2f}",
            )
        )
    lay(screen, names, rows, costs=3)
    screen.print(
        "learned: numbers, frozen text vectors not counted; ms: median wall time of one answer, "
        "scored, filtered and ranked by one thread, all systems in turn",
        highlight=False,
    )
    if len(panel.users) < _FEW:
        screen.print(f"{len(panel.users)} users are too few to bet on; the gate asks for {_FEW}.")


def show_shown(found: Benched, screen: Console) -> None:
    """Print what rankers say of items that were put in front of people, the best first."""
    screen.print(
        "\nWhat people do with items put in front of them: the cases of the last cut's test "
        "window, by models fitted at that cut alone",
        highlight=False,
    )
    if not found.shown:
        screen.print("no event type is told apart there: all cases, or none, go so far")
        return
    first = found.shown[0].system
    for event in dict.fromkeys(row.event for row in found.shown):
        rows = [row for row in found.shown if row.event == event]
        one = rows[0]
        screen.print(
            f"{event}: {one.cases:,} cases, {one.positives:,} positive; {one.users:,} users with "
            "both kinds",
            highlight=False,
        )
        names = ("system", "AUC in users", "AUC", "log loss", f"{first} − it", "CPU s", "learned")
        told = []
        for row in sorted(rows, key=lambda row: -row.user_auc):
            cost = found.costs.get(row.system)
            told.append(
                (
                    row.system,
                    f"{row.user_auc:.4f}",
                    f"{row.auc:.4f}",
                    f"{row.log_loss:.4f}",
                    _gap(row.gap),
                    f"{cost.cpu_s:.0f}" if cost else "",
                    f"{cost.numbers:,}" if cost else "",
                )
            )
        lay(screen, names, told, costs=2)


def lay(
    screen: Console, names: Sequence[str], rows: Sequence[Sequence[str]], *, costs: int
) -> None:
    """Print a table of which no figure is cut.

    Markdown where nobody watches (a pipe, a file). On a terminal that is too narrow for it, what
    systems cost gets a table of its own.

    Args:
        screen: to print on.
        names: of the columns.
        rows: as many texts each.
        costs: of the columns, the last so many tell costs.
    """
    if not screen.is_terminal:
        sides = ["---", *["---:"] * (len(names) - 1)]
        for row in (names, sides, *rows):
            line = f"| {' | '.join(row)} |"
            screen.print(line, highlight=False, markup=False, soft_wrap=True)
        return
    whole = _table(names, rows)
    roomy = screen.options.update(width=1_000)
    if Measurement.get(screen, roomy, whole).minimum <= screen.width:
        screen.print(whole)
        return
    first = len(names) - costs
    screen.print(_table(names[:first], [row[:first] for row in rows]))
    kept = [0, *range(first, len(names))]
    screen.print(_table([names[at] for at in kept], [[row[at] for at in kept] for row in rows]))


def _table(names: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """Return a table; where there is little room, an interval goes to a second line."""
    table = Table()
    for name in names:
        side: Literal["left", "right"] = "left" if name == "system" else "right"
        gap = name.endswith("it")
        table.add_column(name, justify=side, no_wrap=not gap, min_width=_HALF_GAP if gap else None)
    for row in rows:
        table.add_row(*row)
    return table


def _gap(gap: Interval | None) -> str:
    if gap is None or gap.estimate is None:
        return ""
    low, high = (float("nan") if end is None else end for end in (gap.low, gap.high))
    return f"{gap.estimate:+.4f} ({low:+.4f} to {high:+.4f})"
