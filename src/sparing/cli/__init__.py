"""The command line: one verb per file, each with HELP, EXAMPLE, add_arguments and run.

Results go to standard output (one object with --json), everything else to standard error.
Exit code 0 done, 1 ran and failed, 2 asked wrongly.
"""
