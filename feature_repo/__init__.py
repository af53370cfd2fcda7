"""A plain Feast repository: entities, views, services, profiles."""
