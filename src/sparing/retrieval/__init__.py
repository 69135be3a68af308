"""Passages of the user's own texts, found again by their words.

    sources -> passages -> index on disk -> search -> hits -> put before a question

config      settings of the stage
passage     a passage and the cutting of prose and Markdown into passages
docstrings  the documentation inside Python sources, through `ast`
store       the index on disk (tantivy: BM25), written with reproducible bytes, never changed
index       open, search: hits in a fixed order
build       the stage from sources to index
prompt      passages before a question, within a budget
quality     nDCG, recall and MRR against judged queries: an index states its own

Invariant: opening and searching an index changes no byte of it, and no text of a user is a
query language (tests/retrieval/test_index.py).
Elsewhere: reading files (data), writing the answer (engine).
"""
