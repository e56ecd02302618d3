"""
The walk: what takes an instance from one commit to the next.

    loop        claim, dispatch, drain, commit, acknowledge: the wheel
    drive       one claimed instance in memory      picture    what it has learned
    outcomes    how an attempt ended -> a change    changes    the changes there are
    endings     how an attempt ended
    group       changes that share a commit         deadlines  attempts that take too long
    calls       the calls of an attempt             inbox      what attempts ask
    attempt     what they are told
    attempts    the worker's side: perform          functions  names to the author's functions
    executors/  where perform runs                  pools      how many at once
    catalog     the machines known here             program    one of them, ready to be driven
    rewinding   where an instance can go back to    renewal    the lease's heartbeat
    copies      instances made of another one       creating   of a machine
    replaying   rejected records, once more         repairs    those a person has edited
    way         where an instance went              outlook    what a resume would do
    reasons/    why an instance is where it is      trends     percentiles by week, their slope
    builtin     tasks of ours: contract and load    staging    batches, on the worker's side
    upcasting   records of older versions           watching   a source's shape, and its drift
    failure     an exception as plain data          waiting    whose turn to be called is next
    permits     what must be had before that        permission     what must be had meanwhile
    acquiring   how that is waited for              sizing     how large a batch should be now
    groups      partitions that belong together     slicing    which partitions a range names
    asynchronous    `async def` tasks
    beside      threads beside the loop
"""
