"""Champion: the registry in, the model in production out."""
