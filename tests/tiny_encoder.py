"""Tiny encoders, real in every part but their training: random weights, a vocabulary by hand."""

from __future__ import annotations

from pathlib import Path

from recommender.features.encoder_folder import folder_hash

WORDS = ("red", "blue", "green", "scarf", "hat", "wool", "for", "winter", "of", "shirt", "cotton")
CHINESE = "红色的羊毛围巾适合冬天蓝棉质衬衫绿帽子大小号男女士"


def tiny_encoder(folder: Path, *, words: tuple[str, ...] = WORDS, signs: str = "") -> str:
    """Save an encoder that knows some words and some Chinese signs; return what pins it."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.models import Pooling, Transformer
    from transformers import BertConfig, BertModel, BertTokenizerFast

    bare = folder.with_name(f"{folder.name}-bare")
    bare.mkdir(parents=True)
    known = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ",", ".", *words, *dict.fromkeys(signs)]
    (bare / "vocab.txt").write_text("\n".join(known), encoding="utf-8")
    BertTokenizerFast(str(bare / "vocab.txt")).save_pretrained(bare)
    torch.manual_seed(len(known))
    shape = BertConfig(
        vocab_size=len(known),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
    )
    BertModel(shape).save_pretrained(bare)
    SentenceTransformer(modules=[Transformer(str(bare)), Pooling(16)]).save(str(folder))
    return folder_hash(folder)
