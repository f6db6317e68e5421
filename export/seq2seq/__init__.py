"""Encoder-decoders as artifacts that write texts: SavedModel, ONNX files that optimum loads, TFLite."""
