"""Text to token ids: one specification, `switch_tf.text.spec.TextSpec`, realised once per kind of graph."""
