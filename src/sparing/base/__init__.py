"""What every room stands on: errors, settings, seeds, files, limits, progress.

errors      every failure a caller can cause, as one small family
config      frozen dataclasses from TOML and dotted overrides; unknown keys are refused
seeds       named independent random streams from one seed
home        where caches and the ledger of single stages live
limits      the table of every bound on outside input
units       bytes, counts and durations as people read them
files       the one atomic-commit library: an artefact is whole and checksummed, or absent
gguf, gguf_writer      GGUF containers: pairs and blocks of bytes
stage       what a stage returns
logs        progress with rate and ETA, and loggers

Invariant: nothing here imports another room, and no reader sees a half-written artefact.
Elsewhere: what an artefact means (its room), and what it cost (measure).
"""
