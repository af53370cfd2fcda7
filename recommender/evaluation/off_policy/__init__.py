"""What another policy would have earned, told from the log of the one that served.

`impressions.py` is the log, `weights.py` how much more often the other policy would have shown
the same, `estimators.py` and `slates.py` the estimators, `overlap.py` whether the log can tell at
all, and `assess.py` puts them together with intervals and a verdict.
"""
