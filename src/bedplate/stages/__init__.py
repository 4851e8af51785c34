"""Each stage alone: read what the one before left in the run folder, do the work, and write the manifest last."""
