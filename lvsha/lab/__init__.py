"""Real kernels on one machine: a pair of directors, their realservers and a client, and what happens to it."""
