"""From files to a clean corpus and token shards, with every refusal counted.

    files -> documents -> one spelling -> filters -> duplicates out -> train | heldout -> shards

document     a document, the verdict on it, the counts of a step
config       settings of the two stages
sources      files, folders and the standard library as a fixed list of files
reading      files to documents in bounded memory, whatever they hold
normalise    one spelling for equal texts
filters      the quality rules, with their sources
duplicates   exact and MinHash near-duplicates
divide       which documents are kept apart for evaluation
parquet      documents on disk
sieve        the per-document steps over one part of the sources
build        the stage from sources to corpus
tokenize     the stage from corpus to token shards
shards       the shard format, written and mapped
packing      the training stream, a pure function of shards, seed and step
summary      what a corpus or a folder of shards holds, and how two differ

Invariant: equal sources and settings give equal bytes, however often a run was killed and
resumed and however many processes made it (tests/data/test_build.py).
Elsewhere: learning a vocabulary (tokenizer), passages for search (retrieval).
"""
