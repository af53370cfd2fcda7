"""The exit handler: records how a run ended, whatever happened."""
