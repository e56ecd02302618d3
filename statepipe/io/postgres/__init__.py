"""
The PostgreSQL destination; the only package that knows psycopg, imported when it is used.

    destination   one table of one database, for the protocol of `io.exactly_once`
    connection    an address with its secrets, a connection, and what its errors mean
    patience      how long we wait for a server, and when to come back; without psycopg
    sessions      whose batch a session carries, so that a successor can end it
    catalog       what the server says of a table
    table         columns, and the statements about them
    declared      the columns of a contract
    drafts        a table like another one, and putting it in that one's place
    values        what a record's value becomes in a column
    arrowcells    columns of Arrow that prove what becomes of their values
    unreadable    values that Python has none for
    inference     the columns of a new table
    writer        rows into the table, refused one by one
"""
