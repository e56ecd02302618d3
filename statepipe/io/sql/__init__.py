"""
Reading a database, so that it can be killed anywhere and goes on behind its last batch.

    source       read_sql: batch after batch, in the order of a key
    position     where a read stands: behind which key
    records      rows as records, and what cannot be one
    reader       transactions that read, none of them for long
    order        how key and watermark are compared, in each transaction as in the first
    statements   what is asked, as SQLAlchemy builds it
    connection   one database; an address with its secret, and what errors mean
    limits       how long each of it may take

`reader`, `order`, `statements` and `connection` know SQLAlchemy, and are imported when
they are used.
"""
