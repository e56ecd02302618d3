"""
What is looked up, and never changed: instances and all that belongs to them.

    lookup          the few questions of the engine itself
    listing, inspection, groups, copies     instances
    lying, quarantine, output       what was staged, rejected, printed
"""
