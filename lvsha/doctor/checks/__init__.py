"""The checks, by what they are about: facts in, findings out."""
