"""The kernel's virtual service table as values: what it is, what it should be, and the way between."""
