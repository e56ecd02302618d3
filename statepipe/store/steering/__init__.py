"""
What people do to instances; one transaction each.

    instances       create, rewind
    copying         make one of another
    regrouping      to a whole group
    replaying       send rejected records through again
"""
