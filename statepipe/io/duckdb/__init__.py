"""
The DuckDB destination; the only package that knows duckdb, imported when it is used.

    destination   one table of one file, for the protocol of `io.exactly_once`
    connection    the file, which one process may have open at a time, and what its errors mean
    catalog       what the file says of a table
    columns       its types, as they are filled from Arrow
    putting       rows on their way into the table
    judge         which rows the table's constraints refuse, asked before they are put in
"""
