"""The unified Transformer: what happened so far → what comes next, and what is done with it."""
