"""One file per raw file format: named columns in, Arrow columns out."""
