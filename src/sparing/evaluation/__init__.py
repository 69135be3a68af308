"""Know what a model is worth, in nats, bits and how far it is from another.

    text or shards  ->  documents  ->  windows  ->  logits  ->  numbers with intervals

intervals     bootstrap over whole documents: every figure carries its range
documents     which tokens are scored, and how many UTF-8 bytes of text they stand for
origin        how a model of ours was trained, as its card tells
perplexity    nats per token and bits per byte, long documents in overlapping windows
divergence    one model against another on the same tokens: KL, top-1 agreement, nats lost
ngram         interpolated Kneser-Ney over token ids: what counting alone would reach
baselines     n-grams trained on exactly the tokens that a model saw
speed         tokens per second of single-row decoding, measured in turns
evaluate      the stage: model, n-grams and a second model on held-out text, one JSON result

Invariant: every scored token is scored exactly once, and every model compared is scored on the
same tokens (tests/evaluation/test_perplexity.py).
Elsewhere: the forward pass (engine), making a model smaller (compression), plots (report).
"""
