"""Data sets in local files, in the columns that the tasks of lm-evaluation-harness read."""
