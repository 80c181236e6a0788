"""Configurations of other programs, read into lvsha's own."""
