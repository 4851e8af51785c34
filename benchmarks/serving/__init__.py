"""How fast bundles are served, beside peers, with the load generator on the same processors."""
