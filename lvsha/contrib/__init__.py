"""Layers and plugins for other people's tools."""
