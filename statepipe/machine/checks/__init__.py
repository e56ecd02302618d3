"""
The proofs that need a whole machine, or several.

    checker       all of them for one machine
    graphchecks   of the tasks of a state; childchecks: of child machines
    upstreams     of machines that wait for each other
    findings      what is found
"""
