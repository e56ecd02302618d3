"""
A REST API as a source and as a destination, so that either can be killed anywhere.

    source       read_rest: page after page, from behind the last batch
    destination  HttpDestination: batch after batch, POSTed under keys that tell repetitions
    pages        the ways of paging: by number, offset, cursor, link
    asking       what a way of paging may be asked with
    position     where a read stands, and whether it goes in circles
    http         asking one host; the only module that knows httpx2
    credentials  those of a connection, out of sight
    answers      what a status and its headers mean
    pausing      a pause that a redirect asks for, before it is followed
    limits       how long and how much
    paths        where something is in a JSON document
"""
