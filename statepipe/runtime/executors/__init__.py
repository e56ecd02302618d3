"""
Where tasks run: three executors with one interface, and what the process one is made of.

    inline.py    InlineExecutor    in the caller's thread, at once; for debugging
    thread.py    ThreadExecutor    in a pool of threads; for light and I/O-bound tasks
    process.py   ProcessExecutor   in a pool of processes that can be killed; the default

All three are `concurrent.futures.Executor`s. Besides `submit` and `shutdown` each has
`kill(future, error, *, grace_ms)`: the future ends with `error`, whatever it takes. What it
takes differs, and each says so. A callable given as an argument may be called by the task
wherever it runs; once the call was killed, it raises TaskCancelled.

    light.py         a future that costs a fraction of a microsecond
    cancellation.py  the flag a running task can read
    worker.py        one worker process, as its driver sees it
    spare.py         one that is started before anybody knows what for
    child.py         the program of a worker process
    readying.py      what one is called for before anybody needs it
    wire.py          whole frames between the two
    processes.py     finding, freezing and ending everything a worker started
    reaper.py        the thread that keeps the deadlines of kills
"""
