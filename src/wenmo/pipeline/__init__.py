"""One training, from a text to a run folder."""
