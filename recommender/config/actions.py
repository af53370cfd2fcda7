"""What the event types of a log mean to the recommender."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from recommender.config.section import Section


class ActionsConfig(Section):
    """Which event types exist, which of them make history, and which are a success.

    The position of a type in `types` is its code in tensors; 0 is padding.
    """

    types: tuple[str, ...] = Field(min_length=1)
    """Every event type of the canonical events, in the order of growing commitment."""

    history: tuple[str, ...] = ()
    """Types that make up a user's history and are predicted as "next item"; empty: all of them but
    those of `negative`. Mere impressions are left out here: they train the action head, not the
    history."""

    success: tuple[str, ...] = ()
    """Types that count as a hit in evaluation and in the canary; empty: those of `history` that
    are not `negative`."""

    negative: tuple[str, ...] = ()
    """Types that say that somebody was not pleased: a dislike, a return. They stand before the
    others in `types`, being no step of commitment, and are never a success. The model reads them
    where `history` names them; the view of the long term counts them in any case."""

    exclude_seen: bool = True
    """Whether an item that is already in the history is never recommended again
    (true for films, false for groceries)."""

    surfaces: tuple[str, ...] = Field((), max_length=100)
    """Surfaces (pages, campaigns) that are told apart, where `model.surface` reads them: those at
    which lists are asked for, too. All others, and none at all, are one."""

    @model_validator(mode="after")
    def _known(self) -> Self:
        if len(set(self.surfaces)) != len(self.surfaces):
            raise ValueError(f"surfaces names one twice: {list(self.surfaces)}")
        if len(set(self.types)) != len(self.types):
            raise ValueError(f"types names one twice: {list(self.types)}")
        for key in ("history", "success", "negative"):
            unknown = set(getattr(self, key)) - set(self.types)
            if unknown:
                raise ValueError(f"{key} names {sorted(unknown)}, not among types")
        if both := set(self.success) & set(self.negative):
            raise ValueError(f"{sorted(both)} can't be both a success and negative")
        if not set(self.successes) <= set(self.histories):
            raise ValueError("success must be among the history types")
        if set(self.types[: len(self.negative)]) != set(self.negative):
            raise ValueError(
                f"the negative types {sorted(self.negative)} must stand before the others in types"
            )
        if not self.successes:
            raise ValueError("no type is left that could be a success")
        return self

    @property
    def histories(self) -> tuple[str, ...]:
        """The history types, after the default."""
        return self.history or tuple(each for each in self.types if each not in self.negative)

    @property
    def successes(self) -> tuple[str, ...]:
        """The success types, after the default."""
        return self.success or tuple(each for each in self.histories if each not in self.negative)

    def code(self, event: str) -> int:
        """Return the tensor code of an event type (1 …); 0 is padding.

        Raises:
            ValueError: the type is not configured.
        """
        return self.types.index(event) + 1

    def surface_code(self, surface: str | None) -> int:
        """Return the tensor code of a surface (1 …); 0 where there is none or it isn't named."""
        return self.surfaces.index(surface) + 1 if surface in self.surfaces else 0
