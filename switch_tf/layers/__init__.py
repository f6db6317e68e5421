"""Layers and their maths: routing, dispatch, the Switch layer, attention, the encoder block."""
