"""Under whose authority: the caller's token becomes short-lived credentials."""
