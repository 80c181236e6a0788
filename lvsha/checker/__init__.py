"""Health checks: who of a pool may get new connections. Pure machines; ``lvsha.io.probes`` connects."""
