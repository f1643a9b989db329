"""Live: frames in, cleaned frames out."""
