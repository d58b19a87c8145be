"""What keeps the rest going: no assets of its own."""
