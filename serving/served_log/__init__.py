"""Every served list, logged with propensities, without ever holding up or failing a request."""
