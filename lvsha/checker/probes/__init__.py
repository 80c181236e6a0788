"""The pure halves of the probes: what to send, and whether what came back is good."""
