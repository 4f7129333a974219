"""Readers used by two tasks or more, batches, corruptions."""
