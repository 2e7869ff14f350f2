"""Images: files, headers, decoding, checks and the cache."""
