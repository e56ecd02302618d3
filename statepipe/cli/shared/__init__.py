"""
What commands share: options, where things are, what is printed, how instances are driven.

    options, session    the options that every command has, and as they were given
    places              where configuration and store are
    addressing          the options that say which store was meant, in what to type next
    render, progress    what is printed, and how far instances are that are driven
    driving             signals, progress and exit codes of commands that drive instances
    intervening         an engine for those that drive nothing
    live                a page that is drawn again and again
    groups, longest     how groups, and what bounds a run, are shown
    ahead, lateness     what lies ahead of an instance; whether it has had its time
    changes             whether its machine is what it began with
    exporting, callbacks    what is served meanwhile
    loglines, systemd   where log lines go; what systemd is told
    oldmachines         what a worker says of machines that changed since it began
"""
