"""Tests of the analysis of runs."""
