"""Client, server and monitor."""
