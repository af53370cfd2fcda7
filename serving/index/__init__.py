"""The best items of a catalogue for a query: exactly, or nearly and much faster."""
