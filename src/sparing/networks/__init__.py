"""The same models as torch modules, for training and as the plain version of the fast paths.

layers     what blocks are made of: documents, norm, rotary, attention, mlp
decoder    a whole language model on one page, in the order of the paper's figure

Invariant: packing changes nothing; a document's logits are those that it would get alone.
Elsewhere: traits, names and folders (models), losses and optimisers (training), serving (engine).
"""
