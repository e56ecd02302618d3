"""
What is looked up, and never changed: instances and all that belongs to them.

    lookup          the few questions of the engine itself
    listing, inspection, groups, copies     instances
    parts, elsewhere                        who does their work for them
    lying, quarantine, output               what was staged, rejected, printed
    triggers        how those stand, and what they started
"""
