"""What a recommender does to people in the long run.

From logs: `retention.py` (who comes back), `interrupted.py` and `matched.py` (did a change do it),
`proxy.py` (what early signals say of later value). In a simulated world whose truth is known:
`simulator.py` (people who drift, tire, bore and leave), `journal.py` (what they did), `policies.py`
(what serves them), `estimators.py` (what the methods above see of it) and `feedback.py`
(generations of models trained on what their predecessors showed).
"""
