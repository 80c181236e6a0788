"""Follow connections through client, director and realserver, from captures of any of them."""
