"""
Telling people, for the walk: what causes a notice, and who sends it.

    announcing  the notices of a change, for its own commit
    stalled     the notices of instances that nobody drives on
    post        takes what is due from the outbox, has it delivered, writes down how that ended
    sender      the thread of a process that drives instances, which does both
"""
