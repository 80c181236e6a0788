"""The kinds of director that the lab can put on stage."""
