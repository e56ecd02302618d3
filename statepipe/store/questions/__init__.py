"""
What people ask of a store as a whole, or of one instance in earnest; answered read-only.

    evidence    why an instance is where it is: the facts that tell
    fleet       how all machines are doing          finishes    what finished in a window
    durations   how long things took, by week       moments     where in the journal a moment is
    roster      who drives instances                turns       what decides whose turn it is
    usage       how resources are used             outdated    workers that are behind a machine

What the facts mean is for the walk to say (`runtime.reasons`).
"""
