"""Forgetting one person: the list of places, the locks, the work, the proof."""
