"""The shapes of the formats; also what editors complete and explain (JSON Schema)."""
