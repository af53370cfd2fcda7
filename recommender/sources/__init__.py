"""One file per raw format: raw data in, canonical tables out."""
