"""Token shards in, a trained decoder out, with a loop that can be stopped at any instant.

    batch of step  ->  sums of nats and their gradient  ->  update  ->  line, checkpoint

config        what one run is asked to do
precision     which arithmetic, and why
schedule      the learning rate of a step, as a share of its peak
objectives    what is minimised: sums and counts; the head in pieces
optim         Muon for the matrices of the blocks, AdamW for everything else
heldout       bits per byte on held-out documents while training goes on
journal       the lines of metrics.jsonl, apart from their times
checkpoint    a stopped run's state: whole and verified, or passed over for the one before
interrupt     SIGTERM and Ctrl-C as a question asked between two steps
loop          the training loop
pretrain      the stage: checks, wiring, the finished model folder

Invariant: the state after N steps is a pure function of (shards, configuration, N); a run that
was killed and resumed ends in the same bytes (tests/training/test_resume.py).
Elsewhere: the stream of batches (data/packing), the network (networks), what a finished model is
worth (evaluation).
"""
