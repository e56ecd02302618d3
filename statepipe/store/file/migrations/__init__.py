"""
The schema's history: one module a migration, each kept as it shipped.

    first_release   0001, schema version 1
    figures         0002, schema version 2: everything that is watched
    groups          part of it: partitions, and the groups they belong to
    shapes          part of it: the shapes of sources
    replays         part of it: rejected records that are sent through again
    copies          part of it: instances that were made of another one
    steering        part of it: ends by force, and whose store it is
    turns           part of it: priorities, queues, and keys that only so many have at a time
"""
