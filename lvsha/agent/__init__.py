"""The composition roots: what runs on a director."""
