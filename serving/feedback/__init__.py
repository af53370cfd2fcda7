"""What came of served lists: told by request id, each once."""
