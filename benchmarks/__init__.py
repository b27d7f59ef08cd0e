"""Benchmarks: one file per question, one file per peer.

From a checkout `python -m benchmarks`, installed `python -m ipc._bench`.  docs/benchmarking.md says what is
measured and how to add a peer or a question.

    throughput.py  batches.py  latency.py  arrays.py  queues.py  taking.py  multicast.py  publishing.py  imports.py
    floor.py                                 the questions; each holds its own timed loops
    peers/                                   what we compare with, and ourselves
    contest.py -> measure.py -> worker.py    repetitions -> one peer, one repetition -> one end of it
    attached.py                              the same for publishing.py: one peer, one repetition
    report.py  plot.py  machine.py           what comes out, and where it was measured
"""
