"""xDeepFM: products of fields, of ever higher order and vector by vector (Lian et al. 2018).

Three parts are summed: a linear one over the fields, the compressed interaction network (CIN,
eq. 6), and a deep one over all fields side by side. Fields of many values, such as the events of
one type in the history, are means, as in the paper.

Shape letters: B requests, K items asked about, X = B × K, T events, M fields, D width, H feature
maps of a layer, G of the next one, A event types.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from recommender.artifact import Model
from recommender.baselines.neural.case_inputs import Clock, Inputs
from recommender.baselines.neural.items import ItemFacts
from recommender.baselines.neural.ranker import Ranker, RankingModule
from recommender.config import Config
from recommender.config.neural_rivals import NeuralRivalsConfig
from recommender.features.dataset import Dataset
from recommender.split import Fold

_MAPS = (32, 32)
_DEEP = (200, 80)
_REQUEST_FIELDS = 3


class CIN(nn.Module):
    """The compressed interaction network.

    Map h of a layer is `Σ_ij W_hij · x_i ∘ x0_j` over the maps i of the layer before and the
    fields j; what goes on to the output is each map's sum over the width.

    Args:
        fields: M.
        maps: feature maps of each layer.
    """

    def __init__(self, fields: int, maps: tuple[int, ...]) -> None:
        super().__init__()
        sizes = (fields, *maps)
        self.weights = nn.ParameterList(
            nn.Parameter(torch.randn(after, before * fields) * (before * fields) ** -0.5)
            for before, after in zip(sizes, maps, strict=False)
        )

    def forward(self, fields_XMD: Tensor) -> Tensor:
        """Return the sums of all layers' maps, (X, ΣH)."""
        maps_XHD, sums = fields_XMD, []
        for weight_GN in self.weights:
            products_XHMD = maps_XHD[:, :, None] * fields_XMD[:, None]
            maps_XHD = weight_GN @ products_XHMD.flatten(1, 2)
            sums.append(maps_XHD.sum(dim=-1))
        return torch.cat(sums, dim=-1)


class XDeepFMModule(RankingModule):
    """The network; arguments as for every ranker."""

    def __init__(
        self,
        config: NeuralRivalsConfig,
        facts: ItemFacts,
        actions: int,
        clock: Clock | None = None,
    ) -> None:
        super().__init__(config, facts, actions, clock)
        self.actions, self.width = actions, config.width
        self.fields = fields = 3 + actions + _REQUEST_FIELDS
        read = fields * config.width
        self.linear = nn.Linear(read, actions)
        self.cin = CIN(fields, _MAPS)
        self.crossed = nn.Linear(sum(_MAPS), actions, bias=False)
        self.deep = nn.Sequential(
            nn.Linear(read, _DEEP[0]),
            nn.ReLU(),
            nn.Dropout(config.dropout),
            nn.Linear(*_DEEP),
            nn.ReLU(),
            nn.Dropout(config.dropout),
            nn.Linear(_DEEP[1], actions, bias=False),
        )

    def held(self, events: int) -> int:
        """Return about how many numbers one pair needs: a layer's products."""
        del events
        return 2 * max(_MAPS) * self.fields * self.width

    def judged(self, inputs: Inputs) -> Tensor:
        """Return the logits of the farthest event type, (B, K, A)."""
        fields_BKMD = self._fields(inputs)
        fields_XMD = fields_BKMD.flatten(0, 1)
        flat_XN = fields_XMD.flatten(1)
        logits = self.linear(flat_XN) + self.crossed(self.cin(fields_XMD)) + self.deep(flat_XN)
        shaped: Tensor = logits.view(*fields_BKMD.shape[:2], -1)
        return shaped

    def _fields(self, inputs: Inputs) -> Tensor:
        """Return the candidate, its crosses, the last event, the request, each type's mean."""
        candidates_BKD, events_BTD = inputs.candidates, inputs.events
        batch, width = len(candidates_BKD), candidates_BKD.shape[-1]
        last_BD = events_BTD.new_zeros(batch, width)
        if events_BTD.shape[1]:
            length_B = inputs.inside.sum(dim=1).long()
            place_B = (length_B - 1).clamp(min=0)
            last_BD = events_BTD[torch.arange(batch), place_B]
        types_A = torch.arange(1, self.actions + 1)
        of_type_BAT = (inputs.actions[:, None] == types_A[:, None]).to(events_BTD.dtype)
        count_BA1 = of_type_BAT.sum(dim=2, keepdim=True).clamp(min=1)
        means_BAD = of_type_BAT @ events_BTD / count_BA1
        shared_BND = torch.cat(
            [
                torch.stack([last_BD, inputs.hour, inputs.weekday, inputs.gap], dim=1),
                means_BAD,
            ],
            dim=1,
        )
        shared_BKND = shared_BND[:, None].expand(-1, candidates_BKD.shape[1], -1, -1)
        own_BK2D = torch.stack([candidates_BKD, inputs.crossed], dim=2)
        return torch.cat([own_BK2D, shared_BKND], dim=2)


class XDeepFM(Ranker):
    """Ranks by xDeepFM."""

    kind: ClassVar[str] = "xdeepfm"
    network: ClassVar[type[RankingModule]] = XDeepFMModule


def fit_xdeepfm(dataset: Dataset, fold: Fold, config: Config) -> Model:
    """Train xDeepFM on what lies before the fold's test window."""
    return XDeepFM.fit(dataset, fold, config)
