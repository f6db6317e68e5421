"""Fine-tuned classifiers as artifacts that take ids: SavedModel, TFLite, ONNX, each proven before it gets its name."""
