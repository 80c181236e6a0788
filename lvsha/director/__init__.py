"""The decisions that cross engines. Pure, and therefore simulated."""
