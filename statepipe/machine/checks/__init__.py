"""
The proofs that need a whole machine, or several.

    checker       all of them for one machine; itself those of its states together
    taskchecks    of the work of each state (graphchecks: of several tasks)
    childchecks   of child machines      effectchecks  of what is done outside
    guardchecks   of what guards look at
    upstreams     of machines that wait for each other
    findings      what is found
"""
