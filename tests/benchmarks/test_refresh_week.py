"""A refresh a day for a week, against training in full: what it costs, and what it loses.

    make bench PYTEST_ARGS="-k refresh_week"

The generated shop. The first day's model is trained in full and refreshed on each of seven days,
each time from the model of the day before, on that day's events alone with their replay; at the
end of the week a model is trained in full, too. All are asked by everybody who comes in the five
days after. `OSTINATO_SET="refresh.method=lora refresh.items=touched"` changes settings.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from benchmark_settings import given_settings
from refresh_week import DAYS, in_full, open_week, refreshed


def difference(one: np.ndarray, other: np.ndarray) -> str:
    """The mean difference over the same people, with a 95 % bootstrap interval."""
    gap = one - other
    draws = np.random.default_rng(0).integers(len(gap), size=(2000, len(gap)))
    low, high = np.quantile(gap[draws].mean(axis=1), (0.025, 0.975))
    share = gap.mean() / other.mean()
    return f"{gap.mean():+.4f} ({low:+.4f} to {high:+.4f}), {share:+.1%}"


@pytest.mark.benchmark
@pytest.mark.timeout(14_400)
def test_refresh_week(tmp_path: Path) -> None:
    week = open_week(tmp_path, given_settings())
    first, cost_first = in_full(week, 0)
    days = list(refreshed(week, first))
    last, cost_last = in_full(week, DAYS)
    models = {"trained in full": last, "refreshed": days[-1][0], "a week old": first}
    ndcg = {name: week.ndcg(model.scorer, DAYS) for name, model in models.items()}
    full = ndcg["trained in full"]
    print(f"\n\n{len(week.dataset.log):,} events; {len(full)} people asked after the week\n")
    print("| | NDCG@10 | against training in full |\n|---|---:|---|")
    for name, values in ndcg.items():
        print(f"| {name} | {values.mean():.4f} | {difference(values, full)} |")
    costs = [cost for _, cost in days]
    print(
        f"\nCPU seconds: {cost_first:.1f} and {cost_last:.1f} in full, "
        f"{np.mean(costs):.1f} a refresh ({min(costs):.1f} to {max(costs):.1f}): "
        f"{np.mean(costs) / cost_last:.1%}"
    )
    assert len(full) > 300
