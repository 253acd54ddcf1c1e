"""Forage: a small wild land with berries, dens, wolves, nights and seasons; some of its rules are told nowhere."""
