"""The optimiser step, and what surrounds it: devices, checkpoints, metrics."""
