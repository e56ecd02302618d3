"""
The driver's side: one loop that claims, dispatches, decides, commits and acknowledges.

    loop            the wheel
    drive           one claimed instance: a copy of its row, and the attempt under way
    waiting, permits, waits         whose turn it is, and what it needs before it begins
    calls, attempt, inbox           what executors are given, ask, and tell
    readying        what worker processes import before they are needed
    endings, outcomes               how an attempt ended, and what that becomes:
    moves, changes                  a move to another state, or one of the other changes
    group, observers                the commit, and who is told of it
"""
