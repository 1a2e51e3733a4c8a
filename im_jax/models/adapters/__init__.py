"""Adapters: small changes of a model that are trained in its place."""
