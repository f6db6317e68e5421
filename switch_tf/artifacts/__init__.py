"""Models that answer texts: one adapter for each runtime."""
