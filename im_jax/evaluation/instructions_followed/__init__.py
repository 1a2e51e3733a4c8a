"""IFEval: whether answers do what their prompts ask for, where a program can tell."""
