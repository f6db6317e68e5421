"""Layers and their maths: routing, dispatch, the Switch layer, attention, the encoder block.

`SwitchFFN` is a layer for any tf-keras model.
"""

from switch_tf.layers.switch_ffn import SwitchFFN

__all__ = ["SwitchFFN"]
