"""How training went, for people: `training.json`, a picture, and TensorBoard events."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from recommender.config.training import MEASURES, KeepBy
from recommender.files import atomic_directory, atomic_file, write_json
from recommender.training.state import Epoch
from recommender.training.trained import Trained

_NAMES: dict[KeepBy, str] = {
    "ndcg": "NDCG@10",
    "auc": "AUC within users",
    "rmse": "- RMSE, in deviations of the values",
    "both": "geometric mean of NDCG@10 and 2 AUC - 1",
}


def write_record(path: Path, trained: Sequence[Trained], **more: Any) -> None:
    """Write `training.json`: the curve and the figures of every fold, the candidate's last.

    Args:
        path: of the file.
        trained: one per fold.
        more: plain JSON values beside them.
    """
    write_json(path, {"folds": [_record(one) for one in trained], **more})


def _record(trained: Trained) -> dict[str, Any]:
    return {
        "fingerprint": trained.fingerprint,
        "best_epoch": trained.best_epoch,
        "validation_users": trained.validation_users,
        "kept_by": MEASURES[trained.kept_by],
        "validation_quality": trained.validation_quality,
        "validation_ndcg": trained.validation_ndcg,
        "parameters": trained.parameters,
        "epochs": [asdict(epoch) for epoch in trained.curve],
    }


def validated(epoch: Epoch, kept_by: KeepBy) -> dict[str, float]:
    """Return what an epoch was worth, by the names of measures; empty where nobody was asked.

    Args:
        epoch: of the curve.
        kept_by: what epochs are compared by.
    """
    error = None if epoch.rmse is None else -epoch.rmse
    told: dict[KeepBy, float | None] = {"ndcg": epoch.ndcg, "auc": epoch.auc, "rmse": error}
    told[kept_by] = epoch.quality
    return {MEASURES[name]: value for name, value in told.items() if value is not None}


def draw(path: Path, trained: Sequence[Trained]) -> None:
    """Draw loss and what epochs are compared by, a colour per fold, as a PNG."""
    # Figure without pyplot: no display, no global state.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    measure = ", ".join(dict.fromkeys(_NAMES[one.kept_by] for one in trained))
    figure = Figure(figsize=(10, 4), layout="constrained")
    losses, quality = figure.subplots(1, 2)
    for fold, one in enumerate(trained):
        colour = f"C{fold % 10}"
        for phase, style in (("search", "-"), ("refit", "--"), ("refresh", "-.")):
            epochs = [epoch for epoch in one.curve if epoch.phase == phase]
            if epochs:
                losses.plot(
                    [epoch.epoch for epoch in epochs],
                    [epoch.item_loss for epoch in epochs],
                    style,
                    marker=".",
                    color=colour,
                    label=f"fold {fold}, {phase}",
                )
        scored = [(each.epoch, each.quality) for each in one.curve if each.quality is not None]
        if scored:
            quality.plot(*zip(*scored, strict=True), marker=".", color=colour, label=f"fold {fold}")
            quality.axvline(one.best_epoch, color=colour, linewidth=0.5)
    losses.set(title="Next-item loss in training", xlabel="epoch", ylabel="nats per target")
    quality.set(title="Validation window, as served", xlabel="epoch", ylabel=measure)
    for axes in (losses, quality):
        axes.grid(alpha=0.3)
        if axes.lines:
            axes.legend(fontsize="small")
    with atomic_file(path) as temporary, temporary.open("wb") as stream:
        FigureCanvasAgg(figure).print_png(stream)  # type: ignore[no-untyped-call]
    path.chmod(0o644)


def write_events(folder: Path, trained: Sequence[Trained]) -> None:
    """Write TensorBoard events, a run per fold and phase: `tensorboard --logdir <folder>`."""
    from torch.utils.tensorboard import SummaryWriter

    with atomic_directory(folder) as temporary:
        for fold, one in enumerate(trained):
            for phase in dict.fromkeys(epoch.phase for epoch in one.curve):
                with SummaryWriter(str(temporary / f"fold-{fold}-{phase}")) as writer:
                    for epoch in one.curve:
                        if epoch.phase != phase:
                            continue
                        writer.add_scalar("loss/item", epoch.item_loss, epoch.epoch)
                        writer.add_scalar("loss/action", epoch.action_loss, epoch.epoch)
                        if epoch.value_loss is not None:
                            writer.add_scalar("loss/value", epoch.value_loss, epoch.epoch)
                        writer.add_scalar("learning_rate", epoch.learning_rate, epoch.epoch)
                        if epoch.seconds > 0:
                            rate = epoch.events / epoch.seconds
                            writer.add_scalar("speed/events_per_second", rate, epoch.epoch)
                        if epoch.utilisation is not None:
                            writer.add_scalar("speed/mfu", epoch.utilisation, epoch.epoch)
                        if epoch.memory_mb is not None:
                            writer.add_scalar("memory/most_mb", epoch.memory_mb, epoch.epoch)
                        for name, value in validated(epoch, one.kept_by).items():
                            writer.add_scalar(f"validation/{name}", value, epoch.epoch)
