"""Text to settings, pure: schema, load, check, diff, show."""
