"""Files of answers to chat benchmarks, HumanEval and IFEval, in the formats of their publishers."""
