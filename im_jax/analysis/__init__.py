"""What runs have learned by heart, what they forgot, and which tokens moved them."""
