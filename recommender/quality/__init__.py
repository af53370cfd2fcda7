"""Data quality: expectation suites, repair, missing values, drift and the report."""
