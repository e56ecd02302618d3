"""
Telling people: what a notice says, and the three ways to get it to them.

    body        what is said, as JSON and as text
    letter      what is delivered, and the one error of those who deliver
    delivery    one try to deliver one notice; how it can fail
    webhook     a POST, by the standard library
    command     a program of the user's
    services    everything that apprise reaches; an extra, imported when it is used

Nothing here knows the outbox: who is told, when, and how often is `runtime.notices`' part.
"""
