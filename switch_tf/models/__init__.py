"""Models put together from layers, with their weights."""
