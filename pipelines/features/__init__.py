"""`ostinato features`: what the feature store knows, for people."""
