"""Virtual directors on a virtual network in virtual time: what the tests run on, and `lvsha sim`."""
