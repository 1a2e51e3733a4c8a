"""Where `python -m im_jax.rewrites.markov` used to be; the code is in `im_jax.studies.rewrites`."""
