"""What decoder blocks are made of.

documents      which positions of a packed batch see each other
norm, rotary   RMSNorm; positions as rotations
attention      grouped-query self-attention within documents
mlp            the gated feed-forward map

Invariant: a layer takes tensors and plain records and returns tensors; it knows no model.
Elsewhere: the order of the layers (decoder).
"""
