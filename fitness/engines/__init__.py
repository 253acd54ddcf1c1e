"""Engines: who decides for the seated agents."""
