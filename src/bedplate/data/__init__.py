"""Sources, schema, leak-free splits, profile: rows that are ready to train on."""
