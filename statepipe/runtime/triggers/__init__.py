"""
Triggers at work: what they listen to is looked at, and what is due is started.

    kinds       what a kind of trigger has to say: Kind, Due, Occasion
    schedules, events, arrivals, upstreams      one kind each
    passing     of upstreams, the periods that watermarks have passed
    known       the kinds there are
    watch       Watch: looks at the triggers of some machines, and starts what is due
    attending   the thread that does so beside the loop of a worker
    listening   which triggers listen to an event that is emitted
    asking, steering    what people ask of triggers, and do to them
"""
