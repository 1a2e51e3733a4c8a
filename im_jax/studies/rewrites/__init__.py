"""String rewriting: rules x -> y, and Markov algorithms, which are ordered lists of such rules."""
