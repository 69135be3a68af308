"""What work costs: seconds, bytes, joules, grams and money, each figure with its label.

units       joules, kilowatt hours and grams that do not add up across kinds; figure labels
clock       wall and processor seconds, of this process and its children
memory      resident and peak bytes, and bytes moved through system calls
watts       what a processor draws when there is no counter: a small table and a range
energy      counters (RAPL, NVML) or that model, behind one meter
carbon      grams of CO2e per kilowatt hour, by country, offline
price       money per kilowatt hour and per machine hour, as the user states them
settings    where the machine stands and what it costs: one frozen record
cost        the record of what a block cost, and how two costs add up
meter       `measured()`: everything above around one block
probe       the measuring program behind `machine`, run in its own process
machine     cores, instruction sets, caches, memory, measured bandwidth and matmul peak
schema      the tables of the ledger
ledger      one SQLite row per stage; what a served model cost along its parents

Invariant: a figure that was not measured is `None` or says that it is estimated and how; it is
never zero for "unknown", and a sum carries the weakest label of its parts.
Elsewhere: pages for people (report), predictions before a run (planner).
"""
