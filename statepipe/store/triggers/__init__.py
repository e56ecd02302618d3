"""
What the store knows of triggers.

    standing    Standing: where each goes on; registering, pausing
    deciding    what one starts, in one transaction with the instances
    arrivals    what has become of other machines since one looked

How they stand, and what they started, is looked up by `lookups/triggers.py`.
"""
