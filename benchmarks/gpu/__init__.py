"""Measurements that need a GPU; each says what it needs and writes its own figures."""
