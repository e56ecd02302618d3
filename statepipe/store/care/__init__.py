"""
The care of a store: is it sound, and what can go.

    checks          what must hold between its rows
    health          what `statepipe doctor` finds
    owners          what of the stage the owner of the store cannot use
    prune           instances that ended long ago
"""
