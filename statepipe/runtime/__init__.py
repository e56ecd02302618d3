"""
The walk: what takes an instance from one commit to the next.

    driving/    the loop: claim, dispatch, drain, commit, acknowledge
    tasks/      the worker's side of an attempt     executors/  where it runs
    steering/   what people do to instances         reasons/    why one is where it is
    triggers/   what starts instances by itself     notices/    who is told, and by whom
    output/     what tasks print and log

    catalog     the machines known here             program     one of them, ready to be driven
    parts       what runs in each of its states     policies    what governs that
    brood       what their children are             sharing     how its instances share workers
    agreement   what it and `statepipe.toml` say of each other
    picture     what an instance has learned        failure     an exception as plain data
    driver      what a process drives with: worker row, executors, loop
    attendants  the threads beside its loop         beside      what all of them are
    renewal     the lease's heartbeat, in one       stopping    jobs that nobody waits for, in one
    trends      percentiles by week, their slope    criticalpath    what a run spends its time on
"""
