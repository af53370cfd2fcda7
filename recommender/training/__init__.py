"""Training: examples, losses, the loop, and checkpoints that survive a kill."""
