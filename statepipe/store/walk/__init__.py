"""
What the walk writes: who has the right to drive, and every change as one group commit.

    claims, workers, presence       who drives what
    ready, lines, timers            whose turn it is
    routes          which queue a state is of, for those who look
    resuming        one instance, back to work
    asking          cancel, kill, pause
    making, admission               an instance's first rows; may another one be made
    interventions   SQL that all of them share
    committer       the group commit                refusals    what refuses one change of it
    children, families              those that do part of another one's work
    signals, emissions, callbacks   events
    waited          who rests for them, and who did
    datasets        the data that is there, and who rests for it
    jobs            work that is done elsewhere
    resources       slots and permits, over all processes
    notices, stalled                who is to be told
    watermarks, shapes, replays     rows that a change carries besides
"""
