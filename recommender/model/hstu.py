"""The gated attention block of HSTU (Zhai et al. 2024, "Actions speak louder than words", §3.2).

Attention's weights are SiLU of the logits, not a softmax, so what one event weighs does not depend
on how many others there are. What was read is normed and gated; there is no feed-forward part, so a
block has half the weights of one with SwiGLU.

Shape letters: B sequences, S states, Q states that ask, D width, H heads, K width of a head.
"""

from __future__ import annotations

from torch import Tensor, nn

from recommender.model.blocks import KeysValues
from recommender.model.layers import Dropout, RMSNorm
from recommender.model.rotary import Rotation, rotated

# SiLU of it, and the slope there, are nought; of -inf they would not be numbers.
_NOTHING = -1e4


class GatedBlock(nn.Module):
    """Causal gated attention behind a norm.

    The paper divides the weights by the length of the sequence; the norm behind them would undo any
    factor, so here they are sums.

    Args:
        width: D.
        heads: H.
        dropout: on what is added to the stream.
    """

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.drop = Dropout(dropout)
        self.attention_norm = RMSNorm(width)
        self.uqkv = nn.Linear(width, 4 * width, bias=False)
        self.mixed_norm = RMSNorm(width)
        self.out = nn.Linear(width, width, bias=False)

    def forward(self, x_BSD: Tensor, bias_BHSS: Tensor, rotation: Rotation | None = None) -> Tensor:
        """Return the stream after this block, (B, S, D).

        Args:
            x_BSD: the stream before it.
            bias_BHSS: added to attention's logits; B and H may be 1.
            rotation: of queries and keys by their places, if they are turned.
        """
        uqkv_BSX = nn.functional.silu(self.uqkv(self.attention_norm(x_BSD)))
        gate_BSD, q_BSD, k_BSD, v_BSD = uqkv_BSX.chunk(4, dim=-1)
        keys_values = self._turned(k_BSD, rotation), self._split(v_BSD)
        return self._gated(x_BSD, gate_BSD, self._turned(q_BSD, rotation), keys_values, bias_BHSS)

    def keys_values(self, x_BSD: Tensor, rotation: Rotation | None = None) -> KeysValues:
        """Return what later states read of these ones; it does not change when events are added.

        Args:
            x_BSD: the stream before this block.
            rotation: as in `forward`.
        """
        weight = self.uqkv.weight[2 * x_BSD.shape[-1] :]
        both = nn.functional.silu(nn.functional.linear(self.attention_norm(x_BSD), weight))
        k_BSD, v_BSD = both.chunk(2, dim=-1)
        return self._turned(k_BSD, rotation), self._split(v_BSD)

    def read(
        self,
        x_BQD: Tensor,
        keys_values: KeysValues,
        bias_BHQS: Tensor,
        rotation: Rotation | None = None,
    ) -> Tensor:
        """Return the stream of some states after this block, (B, Q, D).

        Args:
            x_BQD: the stream of Q states before it.
            keys_values: of all S states.
            bias_BHQS: as in `forward`.
            rotation: of the Q states.
        """
        weight = self.uqkv.weight[: 2 * x_BQD.shape[-1]]
        both = nn.functional.silu(nn.functional.linear(self.attention_norm(x_BQD), weight))
        gate_BQD, q_BQD = both.chunk(2, dim=-1)
        return self._gated(x_BQD, gate_BQD, self._turned(q_BQD, rotation), keys_values, bias_BHQS)

    def _gated(
        self,
        x_BQD: Tensor,
        gate_BQD: Tensor,
        query_BHQK: Tensor,
        keys_values: KeysValues,
        bias_BHQS: Tensor,
    ) -> Tensor:
        keys_BHSK, values_BHSK = keys_values
        query_BHQK = query_BHQK * query_BHQK.shape[-1] ** -0.5
        logits_BHQS = query_BHQK @ keys_BHSK.transpose(2, 3) + bias_BHQS
        weight_BHQS = nn.functional.silu(logits_BHQS.clamp(min=_NOTHING))
        mixed_BQD = (weight_BHQS @ values_BHSK).transpose(1, 2).reshape(x_BQD.shape)
        added_BQD: Tensor = self.out(self.mixed_norm(mixed_BQD) * gate_BQD)
        streamed_BQD: Tensor = x_BQD + self.drop(added_BQD)
        return streamed_BQD

    def _split(self, x_BSD: Tensor) -> Tensor:
        batch, states, width = x_BSD.shape
        return x_BSD.reshape(batch, states, self.heads, width // self.heads).transpose(1, 2)

    def _turned(self, x_BSD: Tensor, rotation: Rotation | None) -> Tensor:
        x_BHSK = self._split(x_BSD)
        return x_BHSK if rotation is None else rotated(x_BHSK, rotation)
