"""Whole runs in plural: sweeps, ablations, seeds, ensembles, remote execution."""
