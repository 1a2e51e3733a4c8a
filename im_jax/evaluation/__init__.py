"""What is measured of a model: while it trains, at the end of a run, or of any model that can be asked."""
