"""Which language a text is in, told by its script; and whether an encoder knows that language.

A script is not a language, but it is what a tokenizer stumbles over: an encoder made for English
reads German badly and Chinese not at all. Nothing is guessed beyond the script.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

UNKNOWN_LIMIT = 0.05
"""Above this share of unknown tokens an encoder doesn't know the language."""

HAN_SHARE = 0.2
"""From this share of its letters on, a text is Chinese. Low, because a Chinese sign says as much as
several Latin letters: a title in Chinese often names its brand in Latin ones."""

_KANA_SHARE = 0.05


@dataclass(frozen=True)
class Language:
    """The texts of one language, and how much of them an encoder knows.

    Attributes:
        name: `chinese`, `japanese`, `korean`; else the script (`latin`, `cyrillic`, …), or
            `no letters`.
        texts: how many.
        share: of all texts that aren't empty.
        unknown_rate: share of their tokens that the encoder doesn't know.
    """

    name: str
    texts: int
    share: float
    unknown_rate: float

    @property
    def known(self) -> bool:
        """Whether the encoder knows this language well enough to judge a model in it."""
        return self.unknown_rate <= UNKNOWN_LIMIT


def language(text: str) -> str:
    """Return the language of a text, as `Language.name` says it; empty for an empty text.

    >>> language("A red scarf"), language("红色的羊毛围巾 by Nike"), language("🎁 24"), language("")
    ('latin', 'chinese', 'no letters', '')
    """
    if not text:
        return ""
    if text.isascii():
        return "latin" if any(map(str.isalpha, text)) else "no letters"
    scripts = Counter(filter(None, map(_script, text)))
    letters = scripts.total()
    if not letters:
        return "no letters"
    kana = scripts["hiragana"] + scripts["katakana"]
    if scripts["cjk"] + kana >= HAN_SHARE * letters:
        # Japanese mixes both; Chinese has no kana, but for a stray brand.
        return "japanese" if kana > _KANA_SHARE * letters else "chinese"
    if scripts["hangul"] >= HAN_SHARE * letters:
        return "korean"
    # The most letters; of as many, the name that comes first.
    return min(scripts, key=lambda name: (-scripts[name], name))


def languages(
    texts: Sequence[str], tokens: NDArray[np.int32], unknown: NDArray[np.int32]
) -> tuple[Language, ...]:
    """Tell the texts of each language and how much of them is known, the most texts first.

    Args:
        texts: (N,); empty ones don't count.
        tokens: how many tokens each text has, (N,).
        unknown: how many of those the encoder doesn't know, (N,).
    """
    names = np.array([language(text) for text in texts], object)
    spoken = Counter(name for name in names if name)
    found = []
    for name, count in sorted(spoken.items(), key=lambda pair: (-pair[1], pair[0])):
        those = names == name
        total = int(tokens[those].sum())
        rate = float(unknown[those].sum() / total) if total else 0.0
        found.append(Language(name, count, count / spoken.total(), rate))
    return tuple(found)


@lru_cache(maxsize=65_536)
def _script(sign: str) -> str:
    """Return the script of a letter, by its Unicode name; empty for what is no letter."""
    if not sign.isalpha():
        return ""
    # Letters of full or half width are the same letters.
    plain = unicodedata.normalize("NFKC", sign)[:1] or sign
    return unicodedata.name(plain, "other").split()[0].split("-")[0].lower()
