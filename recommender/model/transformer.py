"""The unified Transformer: one body, two answers (which item is next; what is done with an item).

It knows nothing of training or devices: tensors in, tensors out.

Shape letters: B sequences, T events, S = T + 1 states, C contexts, I items, N some of them, D
width, V text components, F popularity features, P (context, item) pairs.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from recommender.config.model import ModelConfig
from recommender.model.blocks import Block, RelativeBias, bias_of_blocks
from recommender.model.heads import Contexts, Pairs, Popularity, Repeats, RequestHead
from recommender.model.hstu import GatedBlock
from recommender.model.inputs import EventInputs, ItemTower, PersonInputs
from recommender.model.item_rows import ITEM_ROWS as ITEM_ROWS
from recommender.model.item_rows import HoldsItemRows
from recommender.model.layers import Dropout
from recommender.model.matching import TextMatch
from recommender.model.padded import Padded
from recommender.model.ranking import ActionHead, Asked, Judged, Packed, Target
from recommender.model.reads import Reads
from recommender.model.rotary import Rotary, Rotation
from recommender.model.target import Questions

AnyBlock = Block | GatedBlock
BLOCKS: dict[str, type[AnyBlock]] = {"swiglu": Block, "hstu": GatedBlock}
"""By `model.block`."""

# 1 / temperature of fresh cosines. Items stand at both ends, so a fresh state is most like the item
# it has just read; the 14 that others begin with makes the first loss half as high again.
_COSINE_SCALE = 6.0
_SMALL = 0.02


class UnifiedTransformer(HoldsItemRows):
    """History → which item comes next, and what is done with it.

    Args:
        config: shape and switches.
        actions: number of event types.
        repeats: whether items may be recommended again (then the history earns a bonus).
        text_IV: whitened text vectors of the catalogue.
        known_I: whether each item was seen in training.
        popularity_IF: log popularity as of the cut, see `Popularity`.
        reads: what is read beside ids, actions and times.
        buckets_I2: rows of the id table of each item, where `config.id_buckets` hashes ids.

    Attributes:
        packed: whether the blocks read histories end to end instead of padded
            (`recommender.model.packed`); softmax attention only.
        bring: has rows of the item tables brought here, ascending and distinct, where processes
            share these out; None: they are here.
    """

    def __init__(
        self,
        config: ModelConfig,
        actions: int,
        text_IV: Tensor,
        known_I: Tensor,
        popularity_IF: Tensor,
        *,
        repeats: bool,
        reads: Reads | None = None,
        buckets_I2: Tensor | None = None,
    ) -> None:
        super().__init__()
        width = config.width
        self.config = config
        self.packed = False
        self.bring: Callable[[Tensor], None] | None = None
        self.reads = reads or Reads()
        self.tower = ItemTower(
            text_IV, known_I, width, config.id_dropout, buckets_I2, config.id_buckets
        )
        sizes, surfaces = self.reads.people.sizes, self.reads.surfaces
        person = PersonInputs(sizes, width, config.user_dropout) if sizes else None
        self.inputs = EventInputs(
            actions, width, time=config.event_time, surfaces=surfaces, people=person
        )
        self.drop = Dropout(config.dropout)
        self.bias = RelativeBias(
            config.heads * (config.layers if config.bias_per_layer else 1),
            time_bias=config.time_bias,
            place_bias=config.position == "relative",
        )
        self.rotary = Rotary(width // config.heads) if config.position == "rotary" else None
        self.place_SD = (
            nn.Parameter(torch.randn(config.history + 1, width) * _SMALL)
            if config.position == "absolute"
            else None
        )
        self.blocks = nn.ModuleList(
            BLOCKS[config.block](width, config.heads, config.dropout) for _ in range(config.layers)
        )
        self.request = RequestHead(
            width, config.dropout, request_time=config.request_time, surfaces=surfaces
        )
        scale = _COSINE_SCALE if config.similarity == "cosine" else width**-0.5
        self.log_scale = nn.Parameter(torch.tensor(config.logit_scale or scale).log())
        self.popularity = Popularity(popularity_IF, known_I)
        self.repeats = Repeats(width, time=config.request_time) if repeats else None
        self.match = (
            TextMatch(self.reads.text_columns(text_IV.shape[1])) if config.text_match else None
        )
        self.action = ActionHead(
            actions,
            width,
            config.heads,
            config.ranking,
            len(text_IV),
            popularity_IF.shape[1],
            config.dropout,
            time=config.request_time,
        )
        if config.initial_std is not None:
            for part in (*self.blocks.modules(), *self.request.feed.modules()):
                if isinstance(part, nn.Linear):
                    nn.init.normal_(part.weight, std=config.initial_std)

    def item_vectors(self, rows_N: Tensor | None = None, keep_N: Tensor | None = None) -> Tensor:
        """Return the vectors of the catalogue, (I, D), or of some of its rows, (N, D).

        Where cosines count they have length 1. Arguments as of `ItemTower`.
        """
        vectors: Tensor = self.tower(rows_N, keep_N)
        return self._compared(vectors)

    def _compared(self, vectors_XD: Tensor) -> Tensor:
        if self.config.similarity == "dot":
            return vectors_XD
        return nn.functional.normalize(vectors_XD, dim=-1)

    def states(self, items_ID: Tensor, histories: Padded) -> Tensor:
        """Read histories; state s has seen the first s events, (B, S, D).

        Args:
            items_ID: from `item_vectors`.
            histories: B of them.
        """
        return self.streams(items_ID, histories)[1]

    def streams(self, items_ID: Tensor, histories: Padded) -> tuple[Tensor, Tensor]:
        """Return the states before the last block, and those after it, (B, S, D) each."""
        x_BSD, rotation = self.placed(self.inputs(items_ID, histories))
        before_BSD = x_BSD = self.drop(x_BSD)
        if self.packed:
            return self._packed_streams(x_BSD, histories)
        bias_BXSS = self.bias(histories.times)
        biases = bias_of_blocks(bias_BXSS, len(self.blocks), self.config.heads)
        for block, bias_BHSS in zip(self.blocks, biases, strict=True):
            before_BSD = x_BSD
            x_BSD = block(x_BSD, bias_BHSS, rotation)
        return before_BSD, x_BSD

    def _packed_streams(self, x_BSD: Tensor, histories: Padded) -> tuple[Tensor, Tensor]:
        from recommender.model.packed import PackedBias, Packing

        packing = Packing.of(histories.actions > 0, histories.times)
        rotation = None if self.rotary is None else self.rotary.at(packing.place_N)
        biases = PackedBias.of_blocks(packing, self.bias, len(self.blocks), self.config.heads)
        before_1ND = x_1ND = packing.packed(x_BSD)
        for block, bias in zip(self.blocks, biases, strict=True):
            before_1ND = x_1ND
            x_1ND = block(x_1ND, bias, rotation)
        return packing.padded(before_1ND), packing.padded(x_1ND)

    def placed(self, x_BQD: Tensor, first: int = 0) -> tuple[Tensor, Rotation | None]:
        """Return the stream with what it is told of absolute places, and how places are turned.

        Args:
            x_BQD: inputs of Q consecutive states.
            first: the place of the first of them.
        """
        states = x_BQD.shape[1]
        if self.place_SD is not None:
            # Programs read at least a few events; behind the longest history they are padding.
            last = len(self.place_SD) - 1
            places_Q = torch.arange(first, first + states, device=x_BQD.device).clamp(max=last)
            x_BQD = x_BQD + nn.functional.embedding(places_Q, self.place_SD)
        return x_BQD, None if self.rotary is None else self.rotary(first, states)

    def queries(self, items_ID: Tensor, histories: Padded, contexts: Contexts) -> Tensor:
        """Return what is asked for at every context, (C, D).

        Args:
            items_ID: from `item_vectors`.
            histories: B of them.
            contexts: moments within them.
        """
        return self.read(items_ID, histories, contexts)[0]

    def read(
        self, items_ID: Tensor, histories: Padded, contexts: Contexts
    ) -> tuple[Tensor, Tensor]:
        """Return the queries, (C, D), and what candidates look up: the streams, (B, S, D)."""
        before_BSD, states_BSD = self.streams(items_ID, histories)
        state_CD = states_BSD[contexts.row, contexts.position]
        query_CD: Tensor = self.request(state_CD, histories.times, contexts)
        return query_CD, before_BSD

    def scaled(self, query_CD: Tensor) -> Tensor:
        """Return queries whose dot product with an item vector is a logit, (C, D)."""
        return self._compared(query_CD) * self.log_scale.exp()

    def catalogue_logits(
        self, items_ID: Tensor, base_I: Tensor, histories: Padded, contexts: Contexts
    ) -> Tensor:
        """Return the logit of every item for every context, (C, I).

        Args:
            items_ID: from `item_vectors`.
            base_I: from `popularity`.
            histories: B of them.
            contexts: moments within them.
        """
        query_CD = self.queries(items_ID, histories, contexts)
        logits_CI = torch.addmm(base_I, self.scaled(query_CD), items_ID.T)
        if self.match is not None:
            text_IV = self.tower.text_IV
            asked_CV = self.match.asked(text_IV, histories.items, contexts)
            logits_CI += self.match(asked_CV, text_IV, self.tower.known_I)
        if self.repeats is not None:
            pairs = Pairs.of(histories.items, contexts)
            added_P = self.repeats(pairs, contexts, histories.times, query_CD, items_ID)
            logits_CI[pairs.context, pairs.item] += added_P
        return logits_CI

    def in_front(self, target: Target, rows_X: Tensor) -> Tensor:
        """Return the vectors of items as the ranking head knows them, (X, D).

        Args:
            target: of the ranking head.
            rows_X: catalogue rows; in training each is kept or dropped by itself.
        """
        return target.items(self.tower.words(rows_X), self.tower.kept(rows_X), rows_X)

    def judged(
        self, items_ID: Tensor, histories: Padded, contexts: Contexts, asked_CK: Tensor
    ) -> Judged:
        """Judge items that are put in front of the users, as of the cut.

        Args:
            items_ID: from `item_vectors`.
            histories: B of them.
            contexts: moments within them.
            asked_CK: catalogue rows, K per context.

        Returns:
            logits of the event types (C, K, A) and, with values, forecasts (C, K, G).
        """
        query_CD, before_BSD = self.read(items_ID, histories, contexts)
        target = self.action.target
        if target is None:
            query_CKD = query_CD[:, None, :].expand(-1, asked_CK.shape[1], -1)
            return self.action.plain(query_CKD, items_ID[asked_CK])
        row_C = contexts.row
        own = Padded(histories.items[row_C], histories.actions[row_C], histories.times[row_C])
        questions = Questions(
            asked_CK,
            asked_CK,
            contexts.position[:, None],
            contexts.now[:, None],
            self.popularity.popularity_IF[asked_CK],
        )
        keys_BHSK, values_BHSK = target.attention.keys_values(before_BSD)
        answers = (keys_BHSK[row_C], values_BHSK[row_C])
        return self.action.targeted(
            query_CD[:, None, :],
            self.in_front(target, asked_CK),
            questions,
            own,
            answers,
        )

    def judged_in_training(
        self,
        items_ID: Tensor,
        histories: Padded,
        contexts: Contexts,
        read: tuple[Tensor, Tensor],
        asked: Asked,
    ) -> Judged:
        """Judge items at moments within the histories, each as of its own moment.

        Args:
            items_ID: from `item_vectors`.
            histories: B of them.
            contexts: moments within them, C.
            read: from `read`.
            asked: M questions.

        Returns:
            logits of the event types (M, A) and, with values, forecasts (M, G).
        """
        query_CD, before_BSD = read
        target = self.action.target
        if target is None:
            return self.action.plain(query_CD[asked.context], items_ID[asked.item])
        laid = Packed.of(contexts, asked, len(histories))
        answers = target.attention.keys_values(before_BSD)
        judged = self.action.targeted(
            query_CD[laid.context],
            self.in_front(target, laid.questions.row),
            laid.questions,
            histories,
            answers,
        )
        return laid.unpacked(judged)
