"""Clips: moving pictures and their sound, read from files and folders, and the features that were made of them."""
