"""Sensors: what the grid shows of the waiting."""
