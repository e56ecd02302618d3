"""
The store's file: where it may lie, how it is opened, made, raised and kept small.

    place, disk         where it lies
    opening, schema, upgrade, migrations    what is in it
    older               processes of an older release that still drive it
    stamp               whose it is: its environment
    connection          the open store, and the one way to write to it
    wal, walguard       the log beside it
    files, owner        the file operations that durability hangs on; whose a file is
"""
