"""
What the store knows of triggers.

    standing    Standing: where each goes on; registering, pausing
    deciding    what one starts, in one transaction with the instances

How they stand, and what they started, is looked up by `lookups/triggers.py`.
"""
