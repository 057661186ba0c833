"""The order of events for one call, and nothing else."""
