"""
The SQLite destination.

    destination   one table of one file, for the protocol of `io.exactly_once`
    connection    as durable as the checkpoint; what SQLite does to a value
    declared      the columns of a contract
    inserting     rows into the table, many to a statement
    drafts        a table like another one, and putting it in that one's place
"""
