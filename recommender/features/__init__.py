"""Features: user sequences as of a moment, item text as vectors."""
