"""The embedded environment: issuers, AWS and the story that the demo tells."""
