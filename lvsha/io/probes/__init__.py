"""The connecting halves of the health checks."""
