"""
Figures of a store: written with the moves they count, and worked out again from the journal.

    counters    what a transaction adds
    timings     how long commits took
    recount     what the journal says they should be
"""
