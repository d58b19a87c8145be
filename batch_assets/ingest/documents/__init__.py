"""Files of a landing folder, each to one state and searchable text."""
