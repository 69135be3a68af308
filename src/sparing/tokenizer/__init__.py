"""Text to tokens and back, and conversations to text.

    text        the tokenizer of a model folder: encode, decode, conversations
    controls    what users write never becomes a control token
    template    chat templates, as models bring them
    budget      what a template may use: rounds, characters, seconds
    sandbox     the environment that counts it
    stream      tokens to text as they come, with stop strings
    splits      how byte-level vocabularies split a text, by name
    gguf_vocab, gguf_pairs      the tokenizer inside a GGUF file, both ways
    train       a byte-level vocabulary from a corpus

Invariant: streamed pieces joined are the decoded whole, and a control token comes from a
template or the caller, never from text.  Elsewhere: the merges themselves (the `tokenizers`
library), what becomes a conversation (server).
"""
