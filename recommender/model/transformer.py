"""The unified Transformer: one body, two answers (which item is next; what is done with an item).

It knows nothing of training or devices: tensors in, tensors out.

Shape letters: B sequences, T events, S = T + 1 states, C contexts, I items, N some of them, D
width, V text components, F popularity features, P (context, item) pairs.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from recommender.config.model import ModelConfig
from recommender.model.blocks import Block, RelativeBias, bias_of_blocks
from recommender.model.heads import ActionHead, Contexts, Pairs, Popularity, Repeats, RequestHead
from recommender.model.hstu import GatedBlock
from recommender.model.inputs import EventInputs, ItemTower, PersonInputs
from recommender.model.layers import Dropout
from recommender.model.padded import Padded
from recommender.model.reads import Reads
from recommender.model.rotary import Rotary, Rotation

AnyBlock = Block | GatedBlock
BLOCKS: dict[str, type[AnyBlock]] = {"swiglu": Block, "hstu": GatedBlock}
"""By `model.block`."""

# 1 / temperature of fresh cosines. Items stand at both ends, so a fresh state is most like the item
# it has just read; the 14 that others begin with makes the first loss half as high again.
_COSINE_SCALE = 6.0
_SMALL = 0.02


class UnifiedTransformer(nn.Module):
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
        self.action = ActionHead(actions, width)
        if config.initial_std is not None:
            for part in (*self.blocks.modules(), *self.request.feed.modules()):
                if isinstance(part, nn.Linear):
                    nn.init.normal_(part.weight, std=config.initial_std)

    def item_vectors(self, rows_N: Tensor | None = None) -> Tensor:
        """Return the vectors of the catalogue, (I, D), or of some of its rows, (N, D).

        Where cosines count they have length 1.
        """
        vectors: Tensor = self.tower(rows_N)
        return self._compared(vectors)

    def item_tables(self) -> list[nn.Parameter]:
        """Return the parameters that have a row per item."""
        return [self.tower.id_ID, self.popularity.rest_I]

    def sparse_rows(self, sparse: bool) -> None:
        """Say whether the gradients of item tables have the rows that were asked for alone."""
        self.tower.sparse = self.popularity.sparse = sparse

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
        x_BSD, rotation = self.placed(self.inputs(items_ID, histories))
        x_BSD = self.drop(x_BSD)
        bias_BXSS = self.bias(histories.times)
        biases = bias_of_blocks(bias_BXSS, len(self.blocks), self.config.heads)
        for block, bias_BHSS in zip(self.blocks, biases, strict=True):
            x_BSD = block(x_BSD, bias_BHSS, rotation)
        read_BSD: Tensor = x_BSD
        return read_BSD

    def placed(self, x_BQD: Tensor, first: int = 0) -> tuple[Tensor, Rotation | None]:
        """Return the stream with what it is told of absolute places, and how places are turned.

        Args:
            x_BQD: inputs of Q consecutive states.
            first: the place of the first of them.
        """
        states = x_BQD.shape[1]
        if self.place_SD is not None:
            x_BQD = x_BQD + self.place_SD[first : first + states]
        return x_BQD, None if self.rotary is None else self.rotary(first, states)

    def queries(self, items_ID: Tensor, histories: Padded, contexts: Contexts) -> Tensor:
        """Return what is asked for at every context, (C, D).

        Args:
            items_ID: from `item_vectors`.
            histories: B of them.
            contexts: moments within them.
        """
        states_BSD = self.states(items_ID, histories)
        state_CD = states_BSD[contexts.row, contexts.position]
        query: Tensor = self.request(state_CD, histories.times, contexts)
        return query

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
        if self.repeats is not None:
            pairs = Pairs.of(histories.items, contexts)
            added_P = self.repeats(pairs, contexts, histories.times, query_CD, items_ID)
            logits_CI[pairs.context, pairs.item] += added_P
        return logits_CI

    def action_logits(
        self, items_ID: Tensor, histories: Padded, contexts: Contexts, asked_CK: Tensor
    ) -> Tensor:
        """Return the logits of the event types for items put in front of the users, (C, K, A).

        Args:
            items_ID: from `item_vectors`.
            histories: B of them.
            contexts: moments within them.
            asked_CK: catalogue rows, K per context.
        """
        query_CD = self.queries(items_ID, histories, contexts)
        query_CKD = query_CD[:, None, :].expand(-1, asked_CK.shape[1], -1)
        logits: Tensor = self.action(query_CKD, items_ID[asked_CK])
        return logits
