"""Callables that report themselves, free until someone listens."""
