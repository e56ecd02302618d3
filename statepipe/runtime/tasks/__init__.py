"""
The task's side of an attempt: what runs in an executor, beside the author's function.

    attempts        run one task, ask for each commit, report how it ended
    sources, maps   tasks that make batches
    builtin         the tasks that come with the engine: judge by a contract, load
    calling         what a task is called with      making      what it has made
    functions       from "flights:extract" to the author's function
    staging         read the input, stage the output, wait for the commit
    jobcalls, jobs  of work that is done elsewhere: what is called, with what
    acquiring, asynchronous, given, upcasting, watching     what these need
"""
