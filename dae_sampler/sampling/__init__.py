"""Moved here; see the modules."""
