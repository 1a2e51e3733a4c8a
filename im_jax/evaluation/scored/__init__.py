"""Figures of chat benchmarks, HumanEval and IFEval: as a table, as JSON, and item by item to be compared."""
