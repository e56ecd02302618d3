"""
The care of a store: is it sound, and what can go.

    checks          what must hold between its rows
    health          what `statepipe doctor` finds
    owners          whose files are, and what the owner of the store cannot use
    prune           instances that ended long ago
"""
