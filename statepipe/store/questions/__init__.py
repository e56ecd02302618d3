"""
What people ask of a store as a whole, or of one instance in earnest; answered read-only.

    evidence    why an instance is where it is: the facts that tell

What the facts mean is for the walk to say (`runtime.reasons`).
"""
