"""Vectors of texts: how many a second, beside other ways, and how near to the original's."""
