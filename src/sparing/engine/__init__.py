"""Many requests, one model, tokens out.

    request  ->  scheduler  ->  executor  ->  draw  ->  reply
                 (pure)         (arrays)     (pure)

    config, request      limits of the engine; what is asked of it
    blocks, scheduler    which KV blocks are free; who computes next
    executor, batch      what a model is to the engine; a plan laid out as arrays
    native_executor      the C++ forward pass as an executor
    native_traits        a config as the C++ pass takes it
    packed_cache         weights packed once, kept beside the model, mapped at its next start
    sampling, chooser    from logits to a token: the distribution and the draw; of one request
    loop                 plan, forward, draw, commit
    handle, reply        an answer as its reader sees it; its life inside, with one end
    service              the engine in a thread, with any number of readers
    capacity             how many tokens the cache may hold on this machine
    native_tower, embedder      encoders: texts or images in, rows of features out
    native_seq2seq       an encoder with its decoder as an executor; a prompt is its source
    assemble_encoder     their folders, wired
    llm, assemble        the face for everyone else; a folder wired into a running engine

Invariant: memory pressure, company in the batch and cancellations of others may delay an answer
and never change it; after the last reply every block is free; every request ends exactly once.
Elsewhere: arithmetic (kernels), what a folder holds (models), text (tokenizer), HTTP (server).
"""
