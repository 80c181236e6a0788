"""Finds the faults that LVS set-ups have: ``facts -> findings``, and the facts are only looked at."""
