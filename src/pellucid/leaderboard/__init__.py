"""Scores any attribution method on tables whose right explanations are known, and writes the page that compares them."""
