"""The tables of a configuration file, one module a subject; ``config.schema`` puts them together."""
