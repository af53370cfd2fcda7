"""Deploy: a registered version in, a served one out, if its canary says so."""
