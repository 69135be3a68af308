"""What a forward pass computes, how weights lie in memory, and the C++ that does the work.

formats      float32, bfloat16, int8, int4 and int3 weight records, numpy only
reference    every operation written to be read; the law that the C++ is tested against
choose       which instruction set the C++ uses on this machine, chosen once, with the reason
encoders     as native, for encoders and encoder-decoders
native       the compiled library behind checks and messages
attention    one layer's paged keys and values with attention over them, for tests and sizes
draw         the arrays of a native draw: rules in, tokens and log-probabilities out
peaks        what this machine can do at most: read bandwidth and arithmetic peaks

Invariant: an output's bits depend on its own inputs and the instruction set alone, never on the
batch, the split of a prompt or the number of threads (tests/kernels/test_native.py).
Elsewhere: what a model is made of (models), torch modules (networks), who computes when (engine).
"""
