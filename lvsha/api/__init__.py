"""What a director answers to people and programs: aiohttp on a Unix socket."""
