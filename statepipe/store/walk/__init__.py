"""
What the walk writes: who has the right to drive, and every change as one group commit.

    claims, workers, presence       who drives what
    resuming        one instance, back to work
    asking          cancel, kill, pause
    admission       may another one be made
    interventions   SQL that all of them share
    committer       the group commit
    children, families              those that do part of another one's work
    signals, emissions              events, and who rests for them
    resources       slots and permits, over all processes
    notices, stalled                who is to be told
    watermarks, shapes, replays     rows that a change carries besides
"""
