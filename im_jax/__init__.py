"""im_jax: instruction tuning in JAX, with a choice, token class by token class, of what carries loss."""

__version__ = "0.1.0"
