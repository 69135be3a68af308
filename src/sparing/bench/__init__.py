"""How fast a model runs here, beside the peers and beside what the machine could do.

    cells        what is measured: decoding with 1, 8 and 16 streams, reading a prompt
    runner       what an engine is to a measurement, and the loop that a child process runs
    worker       the program of a child process: one engine, one model
    run_sparing, run_llamacpp, run_openvino, run_onnx, run_transformers    the engines
    contestant   a child process as the parent sees it
    peers        which peers can take a model, and where their conversions lie
    turns        the contestants of one cell in turns, the machine's limits between them
    roof         the least time that the bytes and operations of a step can take
    verdict      medians, the ratio to the best peer, the fraction of the roof
    record       results on disk, a line for each cell, so that a stopped run goes on
    bench        all cells of one model, written as they come
    compare      one model of ours against the peers that can take it

Invariant: contestants take the same prompts, threads and steps, in turns, in processes of their
own; a figure that was not measured is absent and says why.
Elsewhere: the loops that measure the machine (kernels.peaks), conversions (benchmarks/peers.py).
The files of this room that a peer's own environment loads import nothing but the standard library
and that peer: worker, runner, run_*.
"""
