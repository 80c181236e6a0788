"""The way back: one director's settings in another program's words, and what that program cannot do."""
