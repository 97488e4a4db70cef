"""Plugins: how they are found, loaded and built, and whose an error is."""
