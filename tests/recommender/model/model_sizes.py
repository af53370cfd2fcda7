"""Sizes of the tiny modules of these tests."""

ITEMS, ACTIONS, TEXT, MEMORIES = 23, 3, 6, 2
DAY_MS = 86_400_000
START = 1_700_000_000_000
