"""TFLite, for LiteRT."""
