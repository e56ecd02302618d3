"""
The schema's history: what each migration says, in the order in which it is applied.

    first_release   0001, schema version 1, kept as it shipped
    figures         0002, schema version 2: everything that is watched, and what is pruned
    shapes          part of it: the shapes of sources
    groups          part of it: partitions, and the groups they belong to
    replays         part of it: rejected records that are sent through again
    copies          part of it: instances that were made of another one
    limits          part of it: what can be used only so much, and who uses it
    signals         part of it: events that instances are sent, or that are emitted
    children        part of it: instances that do part of another one's work
    triggers        part of it: what starts instances by itself
    datasets        part of it: the data that is there, and who is woken by it
    steering        part of it: ends by force, and whose store it is
    jobs            part of it: jobs that are done elsewhere
    turns           part of it: priorities, queues, and keys that only so many have at a time
"""
