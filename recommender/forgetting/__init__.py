"""Removing a person from everything that was written, and keeping them from coming back."""
