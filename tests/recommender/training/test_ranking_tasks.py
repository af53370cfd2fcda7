"""What the tasks weigh; and a head that looks at the history learns what it is there for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from recommender.config import Config, parse
from recommender.errors import UserError
from recommender.evaluation.heads import judge_heads
from recommender.evaluation.values import judge_values
from recommender.features.dataset import Dataset
from recommender.features.sequences import Catalogue, EventLog
from recommender.files import read_json
from recommender.split import Fold
from recommender.tables import EVENTS, ITEMS
from recommender.training.curves import write_events, write_record
from recommender.training.run import train
from recommender.training.tasks import weighed

HOUR = 3_600_000
USERS, FILMS, RATED = 120, 30, 16


def test_configured_weights_multiply_and_a_task_of_none_is_left_out() -> None:
    losses = [torch.tensor(3.0), torch.tensor(0.5), torch.tensor(float("nan"))]
    assert weighed(losses, (1.0, 0.2, 0.0), None).item() == pytest.approx(3.1)


def test_learned_weights_settle_at_the_reciprocal_of_twice_the_loss() -> None:
    losses = [torch.tensor(4.0), torch.tensor(0.25)]
    log_variance_K = torch.zeros(2, requires_grad=True)
    optimizer = torch.optim.SGD([log_variance_K], lr=0.4)
    for _ in range(100):
        optimizer.zero_grad()
        weighed(losses, (1.0, 1.0), log_variance_K).backward()
        optimizer.step()
    # d/ds (e^-s L + s/2) = 0 where e^-s = 1 / (2 L).
    weights = torch.exp(-log_variance_K.detach()).tolist()
    assert weights == pytest.approx([1 / 8, 2.0], rel=1e-2)


def films() -> Dataset:
    """Half of the people like one half of the films and dislike the other; stars say the same."""
    random = np.random.default_rng(4)
    rows = []
    for user in range(USERS):
        rated = random.permutation(FILMS)[:RATED]
        for place, film in enumerate(rated):
            likes = (film % 2) == (user % 2)
            stars = (4.5 if likes else 1.5) + random.choice([-0.5, 0, 0.5])
            # A day apart: every rating is a case of its own.
            time = (24 * place + user % 24) * HOUR
            rows.append((f"u{user:03d}", f"f{film:02d}", "like" if likes else "rate", time, stars))
    columns = {
        "event_id": [f"{place:06d}" for place in range(len(rows))],
        **{
            name: [row[place] for row in rows]
            for place, name in enumerate(("user_id", "item_id", "event", "time", "value"))
        },
        **{name: [None] * len(rows) for name in ("surface", "position", "propensity")},
    }
    ids = [f"f{film:02d}" for film in range(FILMS)]
    nothing = {name: [None] * FILMS for name in ITEMS.names if name not in ("item_id", "title")}
    items = pa.table({"item_id": ids, "title": ids, **nothing}, ITEMS)
    config = settings(Path())
    log = EventLog.build(pa.table(columns, EVENTS), Catalogue(tuple(ids)), config.actions)
    fold = Fold(24 * 10 * HOUR, 24 * 12 * HOUR, 24 * 20 * HOUR)
    return Dataset(log, items, np.zeros((FILMS, 1), np.float32), (fold,), "d", "none")


def settings(workspace: Path, **ranking: object) -> Config:
    value = {"name": "rating", "events": ["rate", "like"], "low": 0.5, "high": 5}
    return parse(
        {
            "name": "films",
            "workspace": str(workspace),
            "source": {"kind": "synthetic"},
            "actions": {"types": ["rate", "like"]},
            "model": {
                "width": 16,
                "layers": 1,
                "history": 16,
                "dropout": 0.1,
                "id_dropout": 0.0,
                "ranking": {"values": [value], **ranking},
            },
            "training": {
                "epochs": 25,
                "warmup_steps": 5,
                "empty_share": 0.0,
                "tokens_per_batch": 256,
                "learning_rate": 0.02,
                "action_weight": 1.0,
                "value_weight": 1.0,
                "refit": False,
                "tie": 0.99,
                "patience": 25,
            },
        },
        "test",
    )


@pytest.mark.parametrize("learned", [False, True], ids=["configured", "learned"])
def test_the_target_head_learns_who_likes_what_and_how_much(tmp_path: Path, learned: bool) -> None:
    dataset = films()
    config = settings(tmp_path, head="target", learned_weights=learned)
    trained = train(dataset, dataset.folds[-1], config)
    model = trained.model
    losses = [epoch.value_loss for epoch in trained.curve]
    assert 0 < losses[-1] < losses[0] / 2
    asked = {"history_limit": 16, "most": 10_000, "seed": 1}
    (head,) = judge_heads(model.scorer, dataset, dataset.folds[-1], config.actions, **asked)
    assert head.event == "like"
    assert head.user_auc > 0.9 > head.item_user_auc
    (fit,) = judge_values(
        model.scorer,
        dataset,
        dataset.folds[-1],
        config.actions,
        config.model.ranking.values,
        **asked,
    )
    assert fit.cases == head.cases
    assert fit.rmse < 0.8 < 1.2 < fit.item_rmse
    assert fit.mse == pytest.approx(fit.rmse**2)


@pytest.mark.parametrize(
    ("carried", "loss", "told"),
    [
        (np.nan, "squared", "names rating, which no event of the types rate, like carries"),
        (-1.0, "gamma", "rating is learned by a gamma distribution.* and 1 of"),
    ],
    ids=["of nothing", "negative"],
)
def test_values_that_nothing_true_can_be_learned_of_are_refused(
    tmp_path: Path, carried: float, loss: str, told: str
) -> None:
    dataset = films()
    values = dataset.log.values.copy()
    if np.isnan(carried):
        values[:] = carried
    else:
        values[0] = carried
    dataset = replace(dataset, log=replace(dataset.log, values=values))
    value = {"name": "rating", "events": ["rate", "like"], "loss": loss}
    with pytest.raises(UserError, match=told):
        train(dataset, dataset.folds[-1], settings(tmp_path, values=[value]))


def test_the_curve_tells_what_the_values_lose_and_nothing_where_there_are_none(
    tmp_path: Path,
) -> None:
    dataset = films()
    tree = settings(tmp_path).model_dump(mode="json")
    tree["training"]["epochs"] = 2
    valued = train(dataset, dataset.folds[-1], parse(tree, "test"))
    tree["model"]["ranking"]["values"] = []
    plain = train(dataset, dataset.folds[-1], parse(tree, "test"))
    write_record(tmp_path / "training.json", [plain, valued])
    without, with_values = read_json(tmp_path / "training.json")["folds"]
    assert [epoch["value_loss"] for epoch in without["epochs"]] == [None, None]
    told = [epoch["value_loss"] for epoch in with_values["epochs"]]
    assert told == [epoch.value_loss for epoch in valued.curve]
    write_events(tmp_path / "events", [plain, valued])
    tags = {}
    for run in ("fold-0-search", "fold-1-search"):
        read = EventAccumulator(str(tmp_path / "events" / run)).Reload()
        tags[run] = read.Tags()["scalars"]
    assert "loss/value" not in tags["fold-0-search"]
    read = [event.value for event in read.Scalars("loss/value")]
    assert read == pytest.approx(told)
