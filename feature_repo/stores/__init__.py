"""The online stores as Feast lays them out, read and written without its SDK."""
