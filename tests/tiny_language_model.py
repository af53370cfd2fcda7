"""Tiny language models as `save_pretrained` leaves them: random weights, a vocabulary by hand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from recommender.features.encoder_folder import folder_hash


def tiny_language_model(
    folder: Path, kind: str, words: Sequence[str], *, places: int = 128, width: int = 16
) -> str:
    """Save a GPT-2 (`gpt`) or a BERT (`bert`) that knows some words; return what pins it."""
    import torch
    from transformers import (
        BertConfig,
        BertForMaskedLM,
        BertTokenizerFast,
        GPT2Config,
        GPT2LMHeadModel,
    )

    folder.mkdir(parents=True)
    known = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words]
    (folder / "vocab.txt").write_text("\n".join(known), encoding="utf-8")
    BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder)
    torch.manual_seed(len(known))
    if kind == "gpt":
        gpt = GPT2Config(
            vocab_size=len(known), n_positions=places, n_embd=width, n_layer=1, n_head=2
        )
        GPT2LMHeadModel(gpt).save_pretrained(folder)
    else:
        bert = BertConfig(
            vocab_size=len(known),
            max_position_embeddings=places,
            hidden_size=width,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=width,
        )
        BertForMaskedLM(bert).save_pretrained(folder)
    return folder_hash(folder)
