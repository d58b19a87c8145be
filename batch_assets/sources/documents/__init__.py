"""Documents that arrive as files: what they are, their text, and where in the file it stood."""
