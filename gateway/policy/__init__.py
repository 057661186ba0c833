"""What was decided: claims, rules, the compiled snapshot and the decision."""
