"""
Files of TOML as machines.

    loader        finding, listing and reading them
    template      one file for many machines, each with values of its own
    tasktables    what a state does; graphtables: several tasks in one
"""
