"""The model server as it would be without batching: every request computed by itself, eagerly.

Everything else (KServe, the feature store, what an answer tells) is the server under test. Two
threads compute, one per core.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from serving import predictor, server


class EagerPredictor(predictor.Predictor):
    def load(self) -> bool:
        loaded = super().load()
        model = self._ranker.model
        scorer = model.scorer
        plain = type(scorer).__mro__[1]
        self._ranker = predictor.Ranker(
            replace(model, scorer=plain(scorer.module, scorer.catalogue))
        )
        self._ranker.warm_up()
        self._threads = ThreadPoolExecutor(2)
        return loaded

    async def _answer(self, asks, found):
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self._ranker.answer, asks, found)


if __name__ == "__main__":
    predictor.Predictor = EagerPredictor
    server.main()
