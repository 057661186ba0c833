"""How do we go out: one bounded call, checked addresses, signed AWS requests."""
