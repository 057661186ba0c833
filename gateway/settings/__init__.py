"""How this process runs: what can be set, where, and what it comes to."""
