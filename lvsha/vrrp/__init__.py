"""VRRP: who holds the addresses. RFC 9568 (v3) and RFC 3768 (v2), as machines without I/O."""
