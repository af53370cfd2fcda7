"""One request, computed with as little as it needs: the end of the history is all that is asked.

`UnifiedTransformer` answers for any place of a history; serving asks for the last one. So here
the last block runs for one state only, what depends on the catalogue alone is worked out once,
and repeats are added in dense form (no shape depends on data, which is what exporters want).
Keys and values of earlier events can be kept: they don't change when events are added.

This is the only file of `recommender/export/` that knows the inside of the module; its tests
compare with `UnifiedTransformer` itself.

Shape letters: B histories, T events, S = T + 1 states, Q states that are computed, D width, H
heads, K width of a head, I items, V text components, E what items and queries are compared by (D,
or D + V with `model.text_match`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from recommender.errors import ConfigError
from recommender.export.tables import BucketTables, hours, taken, weekdays
from recommender.model.blocks import KeysValues, bias_of_blocks
from recommender.model.matching import weighted
from recommender.model.padded import Padded
from recommender.model.ranking import Judged, Target
from recommender.model.target import Questions
from recommender.model.transformer import AnyBlock, UnifiedTransformer


@dataclass(frozen=True)
class CatalogueConstants:
    """What the catalogue alone decides.

    Attributes:
        items_ID: item vectors.
        compared_IE: the same, with what stands beside them where they are compared with queries.
        base_I: logits that nobody's history has a part in.
        repeat_I: what an item adds by itself when it is in the history; zeros without repeats.
    """

    items_ID: Tensor
    compared_IE: Tensor
    base_I: Tensor
    repeat_I: Tensor


class Reading(nn.Module):
    """Reads histories for the request at their end.

    Args:
        module: trained, in evaluation mode; its weights are shared, not copied.

    Raises:
        ConfigError: it reads who asks, or where, which is told to nothing here.
    """

    def __init__(self, module: UnifiedTransformer) -> None:
        super().__init__()
        untold = {
            "model.user_attributes": module.reads.profiles,
            "model.surface": bool(module.reads.surfaces),
        }
        if any(untold.values()):
            names = " and ".join(name for name, read in untold.items() if read)
            raise ConfigError(
                f"a model that was trained with {names} has no exported programs, no ONNX files "
                "and no kept states: none of them is told who asks, or where",
                "let the model itself answer (`serving.compute.engine: auto` does), or train one "
                f"without {names}",
            )
        self.module = module
        self.tables = BucketTables(module.config.history)

    def constants(self) -> CatalogueConstants:
        """Work out what the catalogue alone decides."""
        module = self.module
        items_ID = module.item_vectors()
        base_I = module.popularity()
        repeats = module.repeats
        repeat_I = torch.zeros_like(base_I) if repeats is None else items_ID @ repeats.item_D
        compared_IE = items_ID
        if module.match is not None:
            beside_IV = module.match.columns(module.tower.text_IV, module.tower.known_I)
            compared_IE = torch.cat([items_ID, beside_IV], dim=1)
        return CatalogueConstants(items_ID, compared_IE, base_I, repeat_I)

    def inputs(self, items_BTD: Tensor, actions_BT: Tensor, times_BT: Tensor) -> Tensor:
        """Return the inputs of the first block, the start token first, (B, S, D).

        Args:
            items_BTD: vectors of the items.
            actions_BT: event-type codes.
            times_BT: UTC milliseconds.
        """
        inputs = self.module.inputs
        events_BTD = items_BTD + inputs.action(actions_BT)
        if inputs.gap is not None and inputs.hour is not None and inputs.weekday is not None:
            gaps_BT = self.tables.durations(times_BT[:, 1:] - times_BT[:, :-1])
            # How long ago the event before the first one lay is not known: bucket 0.
            gaps_BT = torch.cat([torch.zeros_like(times_BT[:, :1]), gaps_BT], dim=1)
            events_BTD = (
                events_BTD
                + inputs.gap(gaps_BT)
                + inputs.hour(hours(times_BT))
                + inputs.weekday(weekdays(times_BT))
            )
        start_B1D = inputs.start_D.expand(times_BT.shape[0], 1, -1)
        return torch.cat([start_B1D, events_BTD], dim=1)

    def bias(self, times_BT: Tensor, first: int = 0) -> Tensor:
        """Return what attention adds to its logits, (B, H, Q, S).

        Args:
            times_BT: UTC milliseconds.
            first: the first state that is computed.
        """
        bias = self.module.bias
        places_S = torch.arange(times_BT.shape[1] + 1)
        apart_QS = places_S[first:, None] - places_S[None, :]
        place_HQS = torch.zeros_like(apart_QS, dtype=torch.float32)[None]
        if bias.place_HN is not None:
            near_QS = taken(self.tables.distance_S, apart_QS.clamp(min=0))
            place_HQS = torch.stack([taken(table_N, near_QS) for table_N in bias.place_HN])
        place_HQS = place_HQS.masked_fill(apart_QS < 0, float("-inf"))
        if bias.time_HN is None:
            return place_HQS[None]
        # The start token has no time and is as far from everything as bucket 0 says.
        started_BT = times_BT[:, max(first - 1, 0) :]
        apart_BQT = self.tables.durations(started_BT[:, :, None] - times_BT[:, None, :])
        apart_BQS = nn.functional.pad(apart_BQT, (1, 0, 1 if first == 0 else 0, 0))
        time_BHQS = torch.stack([taken(table_N, apart_BQS) for table_N in bias.time_HN], dim=1)
        return time_BHQS + place_HQS

    def read(
        self,
        x_BQD: Tensor,
        bias_BHQS: Tensor,
        last_B: Tensor,
        past: Sequence[KeysValues] | None = None,
    ) -> tuple[Tensor, list[KeysValues]]:
        """Run the blocks.

        Args:
            x_BQD: inputs of the states that are computed.
            bias_BHQS: from `bias`.
            last_B: which of them is asked about.
            past: keys and values, by block, of the states before them; last come those that
                candidates look up, where the ranking head does that.

        Returns:
            the states asked about, (B, D), and the keys and values of all states, as `past`.
        """
        rows_B = torch.arange(x_BQD.shape[0])
        kept: list[KeysValues] = []
        blocks = [cast(AnyBlock, block) for block in self.module.blocks]
        first = 0 if past is None else past[0][0].shape[2]
        x_BQD, rotation = self.module.placed(x_BQD, first)
        looked_up: list[KeysValues] = []
        biases = bias_of_blocks(bias_BHQS, len(blocks), self.module.config.heads)
        for place, (block, bias_BHQS) in enumerate(zip(blocks, biases, strict=True)):
            answered = block.keys_values(x_BQD, rotation)
            keys_values = _joined(None if past is None else past[place], answered)
            kept.append(keys_values)
            if place == len(blocks) - 1 and self.target is not None:
                answers = self.target.attention.keys_values(x_BQD)
                looked_up = [_joined(None if past is None else past[-1], answers)]
            if place == len(blocks) - 1:
                bias_BHQS = bias_BHQS.expand(x_BQD.shape[0], -1, -1, -1)[rows_B, :, last_B]
                x_BQD = x_BQD[rows_B, last_B][:, None, :]
                bias_BHQS = bias_BHQS[:, :, None, :]
                rotation = None if rotation is None else rotation.of(last_B)
            x_BQD = block.read(x_BQD, keys_values, bias_BHQS, rotation)
        return x_BQD[:, 0], kept + looked_up

    @property
    def target(self) -> Target | None:
        """The part of the ranking head that looks at the history item by item, if there is one."""
        return self.module.action.target

    def judged(
        self,
        known: CatalogueConstants,
        query_BD: Tensor,
        asked_BC: Tensor,
        histories: Padded | None,
        length_B: Tensor,
        now_B: Tensor,
        answers: KeysValues | None,
    ) -> Judged:
        """Judge items that are put in front of the users, (B, C, A) and (B, C, G).

        Args:
            known: what the catalogue alone decides.
            query_BD: from `query`.
            asked_BC: catalogue rows.
            histories: B of them; only a head with a target reads them.
            length_B: events of each.
            now_B: the moments of asking.
            answers: what `read` returned last; as for the histories.
        """
        if self.target is None or histories is None or answers is None:
            items_BCD = nn.functional.embedding(asked_BC, known.items_ID)
            query_BCD = query_BD[:, None, :].expand(-1, asked_BC.shape[1], -1)
            return self.module.action.plain(query_BCD, items_BCD)
        popularity_BCF = nn.functional.embedding(asked_BC, self.module.popularity.popularity_IF)
        questions = Questions(asked_BC, asked_BC, length_B[:, None], now_B[:, None], popularity_BCF)
        items_BCD = self.module.in_front(self.target, asked_BC)
        return self.module.action.targeted(
            query_BD[:, None, :], items_BCD, questions, histories, answers, self.tables.buckets
        )

    def query(self, state_BD: Tensor, times_BT: Tensor, length_B: Tensor, now_B: Tensor) -> Tensor:
        """Return what is asked for, the user's state at the moment of asking, (B, D)."""
        head = self.module.request
        if head.inputs is not None:
            last_B = times_BT.gather(1, (length_B - 1).clamp(min=0)[:, None])[:, 0]
            gaps_B = self.tables.durations(now_B - last_B).masked_fill(length_B == 0, 0)
            told = head.inputs
            state_BD = state_BD + (
                told.gap(gaps_B) + told.hour(hours(now_B)) + told.weekday(weekdays(now_B))
            )
        query_BD: Tensor = head.norm(head.feed(state_BD))
        return query_BD

    def compared(self, query_BD: Tensor, items_BT: Tensor, length_B: Tensor) -> Tensor:
        """Return what is multiplied with `CatalogueConstants.compared_IE`, (B, E).

        Args:
            query_BD: from `query`.
            items_BT: catalogue rows of the events; there may be none.
            length_B: events of each history.
        """
        scaled_BD = self.module.scaled(query_BD)
        match = self.module.match
        if match is None:
            return scaled_BD
        since_BT = length_B[:, None] - 1 - torch.arange(items_BT.shape[1])
        near_BT = taken(self.tables.distance_S, since_BT.clamp(min=0))
        weight_BT = weighted(taken(match.since_1N[0], near_BT), since_BT >= 0)
        text_IV = self.module.tower.text_IV[:, : match.width]
        words_BV = (weight_BT[:, None, :] @ nn.functional.embedding(items_BT, text_IV))[:, 0]
        return torch.cat([scaled_BD, words_BV], dim=1)

    def scores(
        self,
        known: CatalogueConstants,
        query_BD: Tensor,
        items_BT: Tensor,
        times_BT: Tensor,
        length_B: Tensor,
        now_B: Tensor,
    ) -> Tensor:
        """Return the logit of every item, (B, I)."""
        query_BE = self.compared(query_BD, items_BT, length_B)
        scores_BI = torch.addmm(known.base_I, query_BE, known.compared_IE.T)
        if self.module.repeats is None:
            return scores_BI
        added_BT = self.repeated(known, query_BD, items_BT, times_BT, length_B, now_B)
        return scores_BI.scatter_add(1, items_BT, added_BT)

    def repeated(
        self,
        known: CatalogueConstants,
        query_BD: Tensor,
        items_BT: Tensor,
        times_BT: Tensor,
        length_B: Tensor,
        now_B: Tensor,
    ) -> Tensor:
        """Return what each event adds to the logit of its item, (B, T).

        Only the last event of an item speaks for it; the others, and padding, add nothing.
        """
        repeats = self.module.repeats
        if repeats is None:
            return torch.zeros(items_BT.shape)
        places_T = torch.arange(items_BT.shape[1])
        inside_BT = places_T < length_B[:, None]
        same_BTT = (items_BT[:, :, None] == items_BT[:, None, :]) & inside_BT[:, None, :]
        later_TT = places_T[None, :] > places_T[:, None]
        superseded_BT = (same_BTT & later_TT).to(torch.float32).sum(dim=2) > 0
        count_BT = same_BTT.to(torch.float32).sum(dim=2).long()
        since_BT = (length_B[:, None] - 1 - places_T).clamp(min=0)
        added_BT = (
            taken(repeats.since_1N[0], taken(self.tables.distance_S, since_BT))
            + taken(repeats.count_1N[0], taken(self.tables.count_T, count_BT))
            + (query_BD @ repeats.query_D)[:, None]
            + taken(known.repeat_I, items_BT)
        )
        if repeats.ago_1N is not None:
            ago_BT = self.tables.durations(now_B[:, None] - times_BT)
            added_BT = added_BT + taken(repeats.ago_1N[0], ago_BT)
        return added_BT.masked_fill(superseded_BT | ~inside_BT, 0.0)


def _joined(before: KeysValues | None, after: KeysValues) -> KeysValues:
    if before is None:
        return after
    return torch.cat([before[0], after[0]], dim=2), torch.cat([before[1], after[1]], dim=2)
