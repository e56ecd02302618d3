"""
What people do to instances; one transaction each.

    making          how an instance comes into the store
    instances       create, cancel, pause, rewind
    copying         make one of another
    regrouping      to a whole group
    replaying       send rejected records through again
"""
