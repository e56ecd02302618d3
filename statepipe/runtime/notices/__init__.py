"""
Telling people, for the walk: who sends notices. Those of a change are in its own commit.

    stalled     the notices of instances that nobody drives on
    post        takes what is due from the outbox, has it delivered, writes down how that ended
    sender      the thread of a process that drives instances, which does both
"""
