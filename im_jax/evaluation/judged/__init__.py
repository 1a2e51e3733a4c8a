"""Chat benchmarks whose answers another model judges: AlpacaEval and MT-Bench, in their own files."""
