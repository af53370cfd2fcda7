"""A served answer for people's eyes: the list, the chances of each event type, and why."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding

_REASONS = 3


def show(answer: dict[str, Any], user: str, screen: Console) -> None:
    """Print one answer of the endpoint.

    Args:
        answer: as `serving.endpoint.ask` returns it.
        user: who was asked about.
        screen: to print on.
    """

    def line(text: str) -> None:
        screen.print(text, highlight=False)

    origin = f"from {answer['history']} events of history"
    if answer.get("fallback"):
        origin = f"fallback: {answer['fallback']}, ranked by {answer['basis']}"
    line(f"[bold]{escape(user)}[/], {origin}, model {answer['model_version']}")
    called = answer.get("value_names", {})
    for rank, item in enumerate(answer["items"], 1):
        title = escape(item.get("title") or item["item_id"])
        chances = "".join(f"  {name} {share:.1%}" for name, share in (item["tasks"] or {}).items())
        expected = (item.get("values") or {}).items()
        values = "".join(
            f"  {called.get(name, 'value')} of {name} = {value:.2f}" for name, value in expected
        )
        line(f"{rank:3}. {item['score']:8.3f}  {title}[dim]{chances}{values}[/]")
        for reason in item.get("because", ())[:_REASONS]:
            what = f"{reason['action']} {reason['title'] or reason['item_id']}"
            line(f"              {reason['weight']:+.3f}  {escape(what)}")
        if item.get("because"):
            line(f"              [dim]{item['base']:.3f} without history[/]")
        if parts := item.get("parts"):
            told = ", ".join(f"{name} {weight:+.3f}" for name, weight in _strongest(parts))
            known = f"[dim]{item['floor']:.3f} knowing nothing; {escape(told)}[/]"
            # However many parts there are, they stay below their item.
            screen.print(Padding(known, (0, 0, 0, 14)), highlight=False)
    if answer.get("unknown"):
        line(f"not known to the model: {', '.join(answer['unknown'])}")
    if answer.get("reason"):
        line(f"nothing to show: {answer['reason']}")


def _strongest(parts: dict[str, float]) -> list[tuple[str, float]]:
    return sorted(parts.items(), key=lambda part: -abs(part[1]))
