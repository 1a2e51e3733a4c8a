"""Recipes: a training set by name, with where it is to be had and what makes conversations of its records.

A recipe is a file in `sets/` with a `RECIPE`; nothing else knows it by name.
"""
