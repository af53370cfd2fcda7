"""Train: a data set in, trained models out."""
