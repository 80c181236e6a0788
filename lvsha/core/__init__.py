"""The words everything uses. Imports nothing else of lvsha."""
