"""One server a file; each runs in an environment of its own and imports nothing of Bedplate but its own peer does."""
