"""Ways to make an artifact wrong, each small, for the formats it applies to; `tests/test_gate_mutations.py` tries them.

A break is either done to the content of a right artifact (`changes`), or built in (`builds`): the artifact is made from
a model, settings or code that are wrong, while the gate keeps the right ones. A new format joins with a surgeon and a
target of its own.
"""
