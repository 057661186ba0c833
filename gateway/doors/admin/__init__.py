"""What may administrators ask: state, rules, explanations, reload and switches."""
