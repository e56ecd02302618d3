"""
The task's side of an attempt: what runs in an executor, beside the author's function.

    attempts        run one task, ask for each commit, report how it ended
    functions       from "flights:extract" to the author's function
    builtin         the tasks that come with the engine: judge by a contract, load
    staging         read the input, stage the output, wait for the commit
    acquiring, asynchronous, upcasting, watching     what these need
"""
