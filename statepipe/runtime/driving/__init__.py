"""
The driver's side: one loop that claims, dispatches, decides, commits and acknowledges.

    loop            the wheel
    agenda          when it looks at the store again
    claiming        what it claims                  wishing     what people want of that
    drive           one claimed instance: a copy of its row, and the attempt under way
    waiting, turns  whose turn it is to be called
    permits         what it needs before it begins  permission  what it asks for meanwhile
    pools           the executors                   readying    what they import beforehand
    calls, attempt, inbox           what executors are given, ask, and tell
    deadlines       when an attempt has taken too long
    sizing          how large a batch should be now
    waits, resting  a state that waits              jobs        one whose work is done elsewhere
    family          one whose work children do      cancelling  one that cleans up
    endings, outcomes               how an attempt ended, and what that becomes:
    moves, changes  a move to another state, or one of the other changes
    learning, delivering, announcing    what goes along with it
    group, observers                the commit, and who is told of it
    refusing        a change that the store does not take
"""
