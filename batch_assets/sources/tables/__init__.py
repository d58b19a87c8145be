"""Tables of PostgreSQL databases as sources: what to read, from where, as bytes or as Arrow."""
