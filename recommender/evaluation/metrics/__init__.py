"""What is measured: one family of metrics per file.

`ranking.py` (NDCG, HR, MRR, MAP, recall, precision), `classification.py` (AUC, log loss, F1 …),
`rating.py` (MSE, RMSE, MAE), `forecast.py` (MAE, RMSE, MASE of demand), `calibration.py` (ECE,
reliability curve) and `exposure.py` (coverage, novelty, diversity, serendipity, popularity lift,
Gini, freshness).
"""

from recommender.evaluation.metrics.ranking import (
    NAMES,
    Doubles,
    hits,
    metric_names,
    per_request,
    per_user,
)

__all__ = ["NAMES", "Doubles", "hits", "metric_names", "per_request", "per_user"]
