"""The pipelines, and the command line that runs them."""
