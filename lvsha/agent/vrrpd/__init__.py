"""The process that leads: virtual routers, their addresses, their announcements."""
