"""lm-evaluation-harness over our models: its tasks, prompts and filters, our generation and likelihoods."""
