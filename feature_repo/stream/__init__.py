"""Events that arrive one by one: validated, landed, and applied to the online sequences."""
