"""The text encoder, tuned to what people take one after the other: LoRA, then an encoder like any.

    python -m recommender.training.text_encoder CONFIG FOLDER [KEY=VALUE …]

writes the folder of a tuned encoder and prints how to read it: `features.text.encoder` names the
folder and `features.text.revision` pins its content. From then on it is used like every other
encoder, by training, the feature store and servers alike. What it learned from lies in the folder
(`lineage.json`) and in the registry: once somebody in that data is forgotten, nothing is made with
it any more (`recommender.forgetting.encoders`).

Pairs are items that one person took one after the other, strictly before the first moment that any
model is validated on. The words of each item are to be nearer to those of its partner than to those
of the batch's other partners, and the other way round (InfoNCE with in-batch negatives: van den
Oord et al. 2018, "Representation learning with contrastive predictive coding"; LoRA: Hu et al.
2021). The adapters lie in the folder, too, as the library `peft` writes them.

Shape letters: N pairs, B pairs of a batch, W width of the encoder.
"""

from __future__ import annotations

import logging
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from recommender.config import Config, load
from recommender.config.text import EncoderConfig
from recommender.config.text_tuning import TextTuning
from recommender.errors import FeatureError, StorageError, TrainingError, UserError
from recommender.features.encoder_folder import identity
from recommender.features.sequences import EventLog, Ints
from recommender.files import atomic_directory
from recommender.forgetting.encoders import ADAPTER, refuse_marked
from recommender.registry.content import LINEAGE
from recommender.registry.encoders import EncoderLineage

logger = logging.getLogger(__name__)

_LONGEST_PAUSE_MS = 24 * 3_600_000


@dataclass(frozen=True)
class Tuned:
    """A tuned encoder.

    Attributes:
        revision: hash of its folder: `features.text.revision`.
        pairs: that it learned from.
        first_loss: mean of the first tenth of the steps, nats.
        last_loss: of the last tenth.
    """

    revision: str
    pairs: int
    first_loss: float
    last_loss: float


def neighbours(log: EventLog, before: int, pause_ms: int = _LONGEST_PAUSE_MS) -> Ints:
    """Return pairs of different items that one person took one after the other, (N, 2).

    Args:
        log: of what makes history.
        before: nothing at or after this moment (UTC milliseconds) is read.
        pause_ms: longest time between the two.
    """
    past = log.before(before)
    user, time = past.user_of_event, past.times
    near = (user[1:] == user[:-1]) & (np.diff(time) <= pause_ms)
    pairs: Ints = np.stack([past.items[:-1][near], past.items[1:][near]], axis=1).astype(np.int64)
    return np.asarray(pairs[pairs[:, 0] != pairs[:, 1]])


def tune(
    encoder: EncoderConfig,
    settings: TextTuning,
    texts: Sequence[str],
    pairs: Ints,
    folder: Path,
    store: Path,
    *,
    seed: int,
    lineage: EncoderLineage | None = None,
) -> Tuned:
    """Tune an encoder and write its folder.

    The same texts, pairs and seed give the same weights on one machine with as many threads.

    Args:
        encoder: what is tuned, and how it is run.
        settings: how.
        texts: of the catalogue, in its order.
        pairs: rows of `texts`, (N, 2).
        folder: that is written, atomically; it must not be there.
        store: folder in which fetched encoders are kept.
        seed: of adapters and batches.
        lineage: what data the pairs are of; None: of nobody's.

    Raises:
        FeatureError: the encoder can't be loaded, peft isn't installed, or the folder is there
            already.
        TrainingError: fewer pairs than a batch, or a loss that is not finite.
    """
    import torch

    from recommender.features.encoder import load_encoder
    from recommender.features.encoder_folder import folder_hash

    try:
        from peft import LoraConfig, get_peft_model
    except ImportError:
        raise FeatureError(
            "tuning a text encoder needs the library peft, which is not installed",
            "install the extra: pip install 'ostinato[text-tuning]'",
        ) from None
    if folder.exists():
        raise FeatureError(f"{folder} is there already", "name another folder, or remove it")
    worded = np.array([bool(text) for text in texts])
    pairs = pairs[worded[pairs].all(axis=1)]
    if len(pairs) < settings.batch_size:
        raise TrainingError(
            f"only {len(pairs)} pairs of items with words were taken one after the other; a batch "
            f"takes {settings.batch_size}",
            "more events are needed, or a smaller features.text.tuning.batch_size",
        )
    before, random = torch.get_num_threads(), np.random.default_rng(seed)
    torch.set_num_threads(encoder.threads)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = load_encoder(encoder, store)
            shape = LoraConfig(
                r=settings.rank, lora_alpha=settings.alpha, target_modules="all-linear"
            )
            adapted: Any = get_peft_model(model[0].auto_model, shape)
            model[0].auto_model = adapted
            losses = _learn(model, settings, texts, pairs, random)
    finally:
        torch.set_num_threads(before)
    with atomic_directory(folder) as temporary:
        adapted.save_pretrained(str(temporary / ADAPTER))
        model[0].auto_model = adapted.merge_and_unload()
        model.save(str(temporary), create_model_card=False)
        if lineage is not None:
            (temporary / LINEAGE).write_bytes(lineage.to_bytes())
    tenth = max(1, len(losses) // 10)
    return Tuned(
        folder_hash(folder),
        len(pairs),
        float(np.mean(losses[:tenth])),
        float(np.mean(losses[-tenth:])),
    )


def _learn(
    model: Any,
    settings: TextTuning,
    texts: Sequence[str],
    pairs: Ints,
    random: np.random.Generator,
) -> list[float]:
    import torch

    learned = [each for each in model.parameters() if each.requires_grad]
    optimiser = torch.optim.AdamW(learned, settings.learning_rate, weight_decay=0.0)
    losses = []
    model.train()
    for step in range(settings.steps):
        chosen = pairs[random.choice(len(pairs), settings.batch_size, replace=False)]
        rate = 0.5 * settings.learning_rate * (1 + math.cos(math.pi * step / settings.steps))
        for group in optimiser.param_groups:
            group["lr"] = rate
        left_BW, right_BW = (_vectors(model, texts, chosen[:, side]) for side in range(2))
        loss = _contrast(left_BW, right_BW, chosen, settings.temperature)
        if not bool(torch.isfinite(loss)):
            raise TrainingError(
                f"the loss of the text encoder is {float(loss)} in step {step}",
                "set a lower features.text.tuning.learning_rate",
            )
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(learned, 1.0)
        optimiser.step()
        losses.append(float(loss.detach()))
    model.eval()
    return losses


def _vectors(model: Any, texts: Sequence[str], rows: Ints) -> Any:
    """Return vectors of length 1 that gradients flow through, (B, W)."""
    import torch

    words = [texts[row] for row in rows]
    tokens = model.tokenizer(
        words,
        padding=True,
        truncation=True,
        max_length=model.max_seq_length,
        return_tensors="pt",
    )
    vectors_BW = model(dict(tokens))["sentence_embedding"]
    return torch.nn.functional.normalize(vectors_BW, dim=-1)


def _contrast(left_BW: Any, right_BW: Any, chosen: Ints, temperature: float) -> Any:
    """Return the mean cross-entropy of finding each one's partner, both ways, nats."""
    import torch

    logits_BB = left_BW @ right_BW.T / temperature
    # Another pair's item is no negative where it is the very same one, nor where it is the one that
    # is asked about: pairs of one person make chains, whose links are left of one and right of the
    # next.
    left_B, right_B = chosen[:, 0], chosen[:, 1]
    same_BB = (left_B[:, None] == left_B) | (right_B[:, None] == right_B)
    same_BB |= left_B[:, None] == right_B
    same_BB &= ~np.eye(len(chosen), dtype=bool)
    logits_BB = logits_BB.masked_fill(torch.from_numpy(same_BB), float("-inf"))
    own_B = torch.arange(len(chosen))
    entropy = torch.nn.functional.cross_entropy
    return (entropy(logits_BB, own_B) + entropy(logits_BB.T, own_B)) / 2


def tune_configured(config: Config, folder: Path) -> Tuned:
    """Tune the configured encoder on the last accepted data version; see `tune`.

    Raises:
        FeatureError: no data was accepted yet, a configured encoder saw somebody who was forgotten,
            or as in `tune`.
        TrainingError: as in `tune`.
        StorageError: the data can't be read.
    """
    from recommender.features.build import catalogue_order, history_log
    from recommender.features.text import describe
    from recommender.quality.accepted import last_accepted
    from recommender.quality.clean import clean
    from recommender.registry import Registry
    from recommender.sources.versions import folder_of
    from recommender.split import cut
    from recommender.tables import Tables

    accepted = last_accepted(config.paths.data)
    if accepted is None:
        raise FeatureError(
            f"no data of {config.name} was accepted yet", "`ostinato run` reads and judges it"
        )
    raw = Tables.read(folder_of(config.paths.data, accepted.data_version))
    tables = clean(raw, config, datetime.fromisoformat(accepted.accepted_at)).tables
    log = history_log(tables, config)
    first = min(fold.validation_start for fold in cut(log.times, config.split))
    text = config.features.text
    refuse_marked(config)
    had = EncoderLineage.of_folder(Path(text.encoder)) if text.is_folder else None
    lineage = EncoderLineage(
        config.name,
        (accepted.data_version, *(had.data_versions if had else ())),
        first,
        identity(text),
        text.tuning.model_dump(mode="json"),
        config.seed,
    )
    made = tune(
        text,
        text.tuning,
        describe(catalogue_order(tables.items)),
        neighbours(log, first),
        folder,
        config.paths.cache / "encoders",
        seed=config.seed,
        lineage=lineage,
    )
    try:
        Registry.configured(config).encoders.record(made.revision, lineage)
    except StorageError as error:
        # Whether its data version was replaced is seen without, where that data is.
        logger.warning("the registry does not know of the tuned encoder: %s", error)
    return made


def main(arguments: list[str]) -> int:
    """Tune and say how to use it; return the exit code."""
    if len(arguments) < 2:
        sys.stderr.write(f"{__doc__}\n")
        return 2
    settings = {
        key: yaml.safe_load(value)
        for key, _, value in (each.partition("=") for each in arguments[2:])
    }
    folder = Path(arguments[1])
    try:
        made = tune_configured(load(Path(arguments[0]), settings), folder)
    except UserError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(
        f"learned from {made.pairs:,} pairs; loss {made.first_loss:.3f} → {made.last_loss:.3f}\n"
        f"features.text.encoder: {folder.absolute()}\nfeatures.text.revision: {made.revision}\n"
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
