"""Strain and witnesses from an observatory's own services, as frames."""
