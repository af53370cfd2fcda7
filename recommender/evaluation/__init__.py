"""How good a model is, how sure we are of it, and whether that is enough.

frozen      the requests that every model is scored on
score       models → top lists → metrics per request → metrics per user
statistics  metrics per user → intervals of means and differences
evidence    all of that for one candidate and its rivals, as it is written down
gate        evidence → verdict
report      evidence and verdict → one page for people
"""
