"""What is started: names, inputs, ownership and Step Functions."""
