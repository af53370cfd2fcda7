"""Gate: evidence in, a verdict out."""
