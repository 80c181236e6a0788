"""One file a scenario, each with ``SUMMARY`` and ``play(stage)``."""
