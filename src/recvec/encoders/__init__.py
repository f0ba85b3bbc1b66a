"""Attributes as numbers: fitted once, frozen, the same for everyone who comes later."""
