"""The kernel's IPVS connection synchronisation protocol, versions 0 and 1."""
