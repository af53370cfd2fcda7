"""Register: a judged model in, a signed and immutable version out."""
