"""
What attempts print and log: caught attempt by attempt, bounded, and stored by the loop.

    capture.py   the lines of one attempt, until they are stored; and of all that wait for it
    streams.py   which attempt a print or a log record belongs to, in a process with several
    records.py   log records as text, and how they leave a worker process

A worker process serves one attempt at a time: whatever it writes belongs to that one. In
the driver's own process, threads and inline tasks share the standard streams, and the
context of the call tells them apart; what runs outside of it (a thread that a task
started itself, a child process, C code) cannot be told apart and goes where it always went.
"""
