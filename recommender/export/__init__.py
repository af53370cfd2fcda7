"""The trained model for other runtimes, and for serving: both of its entry points.

| entry point | from | to |
|---|---|---|
| `retrieve` | a history | the user's state, the logit of every item, the best items |
| `rank` | a history and candidates | the candidates' logits, and those of what is done with them |
| `actions` | a user's state and candidates | the logits of what is done with them |
"""
