"""Connection synchronisation: which kernel daemons run, tuned how."""
