"""What a table promises: columns, key, rules, and how rows meet it. Pure values, no I/O."""
