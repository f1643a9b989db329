"""Search strain: time slides, injections, zero lag."""
