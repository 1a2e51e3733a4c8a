"""The same example twice: within a source, in two, or in training and held-out data."""
