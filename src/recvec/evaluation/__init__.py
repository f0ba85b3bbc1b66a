"""Protocols, results, and how sure they are."""
