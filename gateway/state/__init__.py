"""What replicas share: used tokens, rates, switches, and what each of them runs on."""
