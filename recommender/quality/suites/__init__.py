"""The expectation suites, kept as code: one file per table, one for types, one for the log."""
