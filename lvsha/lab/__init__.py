"""Real kernels on one machine: a pair of directors, their realservers, a client, and what becomes of it."""
