"""How the model is trained."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from recommender.config.ensemble import EnsembleConfig
from recommender.config.section import Section

KeepBy = Literal["ndcg", "auc", "rmse", "both"]
"""What epochs are compared by."""

MEASURES: dict[KeepBy, str] = {
    "ndcg": "ndcg@10",
    "auc": "auc_within_users",
    "rmse": "minus_relative_rmse",
    "both": "ndcg_and_auc",
}
"""What their measures are called in figures and reports; of all, higher is better."""


class TrainingConfig(Section):
    """How the model is trained.

    Two phases: a search on the events before the validation window finds out how many epochs are
    best, by `keep_by` on that window; the final model is trained for as many on everything before
    the test window.
    """

    epochs: int = Field(6, ge=1)
    """At most this many passes over the training sequences; the learning rate ends at nought."""

    keep_by: KeepBy = "ndcg"
    """By what the best epoch is best, on the validation window; a search for settings compares
    trials by it, too. `ndcg`: NDCG@10 of the next items over the whole catalogue, for a model that
    retrieves. `auc`: for one that ranks what others retrieve: whether people go farther with one
    item in front of them than with another, AUC within users, mean over event types. `rmse`: the
    error of `model.ranking.values`, in units of their deviation, for a model whose forecasts are
    used. `both`: the geometric mean of NDCG@10 and 2 AUC - 1, which both are 0 without knowledge,
    so that a hundredth more of one weighs as much as a hundredth more of the other. A refresh
    trains for as many epochs as it is told, and keeps the last."""

    patience: int = Field(3, ge=1)
    """Epochs in a row that are worse than the best before the search stops."""

    tie: float = Field(0.01, ge=0, lt=1)
    """Of the epochs that are within this share of the best, the latest counts: so small a
    difference is chance, and the longer schedule anneals better."""

    refit: bool = True
    """Whether the validation window is trained on, too, once the number of epochs is known.
    Without it, the model of the best epoch of the search is kept."""

    tokens_per_batch: int = Field(1024, ge=64)
    """Events in one step (sequences of like length are batched together)."""

    windows: Literal["all", "latest"] = "all"
    """What is learned of a history longer than `model.history`: all of it, in windows that overlap
    by half, or its latest window alone."""

    popularity_slices: int = Field(32, ge=1)
    """Slices of time in which popularity, the starting point of the logits, is as it was at the
    slice's start. 1: it is that of the cut for everything that is learned, which suits a log that
    has an order per user and no clock."""

    learning_rate: float = Field(3e-3, gt=0)
    """Peak learning rate of AdamW, after warm-up and before the cosine."""

    warmup_steps: int = Field(50, ge=0)
    """Steps of linear warm-up."""

    weight_decay: float = Field(0.05, ge=0)
    """Decoupled weight decay of matrices and id vectors (not of norms and biases)."""

    clip: float = Field(1.0, gt=0)
    """Largest norm of the gradient."""

    accumulate: int = Field(1, ge=1)
    """Batches whose gradients make one step of the optimiser."""

    ema: float | None = Field(None, gt=0, lt=1)
    """Decay per step of a running mean of the weights, which is what is validated and kept; None:
    the weights themselves are."""

    recoveries: int = Field(3, ge=0)
    """When a loss or gradient isn't finite, training goes back to its last checkpoint and on with
    half the learning rate, at most this often; then it stops."""

    action_weight: float = Field(0.2, ge=0)
    """Weight of the next-action loss beside the next-item loss."""

    value_weight: float = Field(0.1, ge=0)
    """Weight of the loss of each of `model.ranking.values` beside the next-item loss."""

    other_weight: float = Field(0.0, ge=0, le=1)
    """Weight of next items that are history but no success (a film rated low), beside 1 for a
    success. They are read as history and train the action head in any case."""

    loss: Literal["full", "sampled", "gbce"] = "full"
    """Of the next item. `full`: softmax over all known items, the best up to some 50,000 of them.
    `sampled`: softmax over a set of items that stands for all, corrected for how likely each was to
    be in it. `gbce`: binary cross-entropy against the same set, calibrated."""

    negatives: int = Field(1024, ge=1)
    """Items drawn per batch for `sampled` and `gbce`, beside the batch's own targets."""

    popular_share: float = Field(0.5, ge=0, le=1)
    """Share of the negatives that is drawn by popularity; the others are drawn evenly."""

    calibration: float = Field(0.75, ge=0, le=1)
    """How far `gbce` undoes the overconfidence of sampling: 0 not at all, 1 all of it."""

    label_smoothing: float = Field(0.0, ge=0, lt=1)
    """Share of each next item that is spread evenly over all known items (`loss: full` only)."""

    empty_share: float = Field(0.3, ge=0, le=1)
    """Share of the contexts that are asked a second time as if nothing were known of the user. Real
    first contexts are so few that people without history were served worse than by popularity."""

    seen_in_softmax: bool = False
    """Where seen items are never recommended again: whether a next item competes with them in
    training all the same. Faster, and the model learns by itself not to repeat."""

    validation_users: int = Field(1000, ge=1)
    """At most this many users of the validation window are asked after each epoch."""

    checkpoint_every_steps: int = Field(200, ge=1)
    """Steps between checkpoints (one is also written after every epoch)."""

    precision: Literal["fast", "float32", "bf16"] = "float32"
    """Of matrix products. `fast` lets oneDNN do them: twice as fast in batches of thousands of
    tokens, slower in small ones, whose ever new shapes cost it more than they take; factors are
    rounded to bfloat16 where there are units for that, and to TF32 on a GPU. `bf16`: those of the
    body are in bfloat16, the loss and the weights in float32, for a GPU (300 times slower on most
    processors). `float32`: rounded nowhere."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where training computes; `auto`: on the GPU where torch finds one."""

    packed: Literal["auto", "on", "off"] = "auto"
    """Whether histories are read end to end instead of padded. `auto`: on a GPU, unless the block
    is `hstu`. Without it, like lengths are batched together, and little is padded."""

    compile: bool = False
    """Whether the blocks are compiled by `torch.compile`: half a minute before the first step, for
    fewer and larger kernels on a GPU."""

    deterministic: bool = True
    """Whether every operation repeats to the byte. On a GPU that costs speed, and the gradients of
    packed attention's biases are not repeatable at all: there, switch it off."""

    threads: int = Field(1, ge=1)
    """CPU threads; part of what makes a run repeatable to the byte. A second one gains little at
    small widths, and loses much where another process wants the core."""

    ensemble: EnsembleConfig | None = None
    """The systems that the trained model is fused with, into the model that is judged and served;
    None: it is served alone."""

    @model_validator(mode="after")
    def _judged(self) -> Self:
        if self.keep_by in ("auc", "both") and not self.action_weight:
            raise ValueError(
                f"keep_by: {self.keep_by} looks at what people do with items, which nothing is "
                "learned of with action_weight: 0"
            )
        if self.keep_by == "rmse" and not self.value_weight:
            raise ValueError(
                "keep_by: rmse looks at values, of which nothing is learned with value_weight: 0"
            )
        return self

    @model_validator(mode="after")
    def _smoothing(self) -> Self:
        if self.label_smoothing and self.loss != "full":
            raise ValueError(
                "label_smoothing spreads a target over all items, which only loss: full looks at"
            )
        return self
