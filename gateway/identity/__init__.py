"""Who is asking: tokens, keys and the proof that joins them."""
