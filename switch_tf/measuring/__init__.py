"""Figures: how good a model is, and what a linear one reaches."""
