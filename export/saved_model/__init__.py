"""SavedModel, for TensorFlow and TF Serving."""
