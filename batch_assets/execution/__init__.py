"""What this process may use: CPU, memory, isolated worker processes."""
