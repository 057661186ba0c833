"""Tokens of every kind that a verifier must tell apart, good and bad, each with the answer we mean to give."""
