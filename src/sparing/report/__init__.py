"""One HTML file that tells a run: what came out, what it lost, what it cost.

report     `write_report(run)`: gather, draw, write
gather     the run's files as one record; what is absent stays absent
overview   the first page: headline figures and the way through the run
learning   loss, held-out bits per byte, throughput
corpus     what each data step removed
quality    before and after compression, and the sample answer
spending   where time and joules went, the machine, the recipe, the artefacts
figures    matplotlib drawings as SVG whose colours follow the page
markup     escaping, numbers, tables, figure frames
style      the style sheet
compare    the figures of two runs side by side, for the command line

Invariant: the file stands alone; it loads nothing, runs nothing, and everything that came from
a run's files is escaped.
Elsewhere: the figures themselves (evaluation, compression) and the costs (measure/ledger).
"""
