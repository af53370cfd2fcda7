"""The domain: events in, recommendations out.

Nothing in this package knows of Kubernetes, KFP, Feast or KServe; it runs in a notebook.
"""
