"""
What people and programs do to instances, as far as it takes knowing their machines.

    creating, copies        a new instance; one made of another
    groups, slicing         partitions
    rewinding, replaying    back to an earlier state; rejected records once more
    asking, setting         an end, a pause; other parameters for what is resumed
    events                  signals and emitted events
    way, outlook            which way an instance went, and what a resume would do
"""
