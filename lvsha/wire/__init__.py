"""Bytes to records and back. No state."""
