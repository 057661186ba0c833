"""What do the files say: bytes become nodes with places, shapes and findings."""
