"""Weights that are kept in fewer bits than they are multiplied in."""
