"""Figures as a person reads them."""
