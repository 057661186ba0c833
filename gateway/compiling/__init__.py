"""What do the administrators' files amount to: from their text to one policy and its findings, and again when they change."""
