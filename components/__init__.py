"""One folder per pipeline step: a thin KFP adapter around the domain."""
