"""What may an administrator ask: findings, explanations and offline decisions."""
