"""
What starts instances of a machine by itself, as its definition declares it.

    trigger     Trigger: a name, what it listens to, the parameters of what it starts
    listening   what all kinds of triggers have in common
    schedules   by the clock: Schedule
    events      by an event that somebody emits: Emitted
    arrivals    by a file: Arriving
    upstreams   by another machine's data: After
    periods     hours, days and months, and the partitions they are made of
    places      "{tick.date}", "{event.key}" in the texts of parameters
    reading     `[triggers.NAME]` of a machine file
    cron        expressions, and the moments they mean; alone sees cronsim
    due         which moments of a schedule are due, by its catchup
"""
