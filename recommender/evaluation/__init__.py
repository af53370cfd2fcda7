"""How good a model is, how sure we are of it, and whether that is enough.

freeze, frozen   the requests that every model is scored on: making them, keeping them
score, metrics   models → top lists → metrics per request → metrics per user
statistics       metrics per user → intervals of means and differences
backtest         forecasts of demand, judged by what came
panel, assess    one candidate, its rivals and the champion, measured together
evidence         all of that as it is written down
rules, gate      evidence → verdict
picture, report  evidence and verdict → one page for people
"""
