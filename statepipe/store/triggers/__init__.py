"""
What the store knows of triggers.

    standing    Standing: where each goes on; registering, pausing
    deciding    what one starts, in one transaction with the instances
    listing     how they stand, and what they started
"""
