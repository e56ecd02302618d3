"""
What people and programs do to instances, as far as it takes knowing their machines.

    creating, copies        a new instance; one made of another
    groups, slicing         partitions
    again                   what is done once more: resume, retry, rewind, replay
    rewinding, replaying    back to an earlier state; rejected records once more
    doubling                what a rewind or a fork would append once more
    repairs                 those that a person has edited
    asking, setting         an end, a pause; other parameters for what is resumed
    unpausing               what was paused goes on
    adopting                what cannot go on with its machine as it is now, or may
    foresight               the same, told before anybody tries
    lateness                what cannot go on: its machine's deadline has passed
    events, judging         signals and emitted events, and whether they may come
    callbacks               the same of an outside system, by a token
    way, outlook            which way an instance went, and what a resume would do
    roster                  whose instances a worker can drive
"""
