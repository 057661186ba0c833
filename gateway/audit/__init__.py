"""What can we prove: records, their chain and the journal that keeps them."""
