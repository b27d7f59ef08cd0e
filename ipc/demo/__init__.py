"""The demo, ``python -m ipc demo``: a pipeline of worker processes over real files, checked and timed.

    parent                                 worker 1..N
    sources.py  read every .py file        worker.py  tokenise what comes in,
    compare.py  run the pipeline, check               send back one result per file
    screen.py   progress bar and table     tally.py   what "tokenise" means

The same work is done three times, on the same bytes, and must give the same answer: in one process (`compare`), by N
workers over a reliable queue of this package, one of which is killed on the way (`over_reliable`), and by N workers
over `multiprocessing.Queue` (`over_queue`).
Nothing here but `screen` needs an optional dependency.
"""
