"""
Reading a REST API, so that it can be killed anywhere and goes on behind its last batch.

    source      read_rest: page after page, batch after batch
    pages       the ways of paging: by number, offset, cursor, link
    position    where a read stands, and whether it goes in circles
    http        asking one host; the only module that knows httpx2
    answers     what a status and its headers mean
    limits      how long and how much
    paths       where something is in a JSON document
"""
