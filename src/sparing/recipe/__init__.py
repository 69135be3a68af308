"""A recipe: stages in order, as data.

stages      the literal table of what a recipe may use, and its configuration class
plan        TOML and overrides -> a checked list of steps; `@name` is an earlier step's artefact
account     run one stage under the meter and the ledger
ask         the stage that puts a question to the index and the model
runner      run the steps, skip what is finished, write what was asked for beside it

Invariant: a finished step is reused only when its settings and its parents' hashes are the same.
Elsewhere: what a stage does (its room), what it cost (measure), the page about it (report).
"""
