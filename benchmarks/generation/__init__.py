"""How quickly text is written: with and without a cache, in f32 and int8, beside Hugging Face on the same weights."""
