"""Models written as folders that transformers, vLLM and llama.cpp read, with all that they ask for."""
