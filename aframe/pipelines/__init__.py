"""Named end points."""
