"""
The store's file: where it may lie, how it is opened, made, raised and kept small.

    place, disk         where it lies
    opening, schema, upgrade, migrations    what is in it
    connection          the open store, and the one way to write to it
    wal, walguard       the log beside it
    files               the file operations that durability hangs on
"""
