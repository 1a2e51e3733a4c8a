"""Files of model weights: what stands where in them. No file here knows a family of models."""
