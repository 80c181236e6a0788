"""The other half of LVS: what a realserver needs before a director may send it packets."""
