"""
The ends: the only floor that touches data outside the store and the stage.

    files/         sources for CSV, JSON Lines and Parquet, with cursors
    rest/          a source for REST APIs (secrets: credentials by reference)
    sql/           a source for databases, through SQLAlchemy
    streams        a source that returns one stream of Arrow data
    limits, marks  how much a source may take, and how far it has come
    changed        what a source says when a cursor is not one of what it reads now
    relative       where it looked for a relative path
    jsontext       JSON without what Python's parser would take in silence
    plainjson      plain data as JSON, and back once somebody has edited it
    arrow          columnar batches; nanoseconds: columns of what Python counts in microseconds
    blocks, coded  staged records by columns, and a column of few different values
    contract       the shape records must have; what breaks it is rejected with a reason
    provable       what of a schema can be proved column by column; columnar, distinct do it
    destinations   where records are loaded, by the scheme of an address
    loads          what a destination is asked and what it answers
    exactly_once   what each of them does with a batch: fence, ledger, rows, one transaction
    ledger         its own record of which batches it has
    declared       the columns that a contract says a table has
    drafts         tables in the making, for loads that replace
    fitting        a batch parted into what goes into a table and what does not
    sqlite/        the SQLite destination; table, values: its columns, and what goes into them
    postgres/      the PostgreSQL destination
    duckdb/        the DuckDB destination
    folders/       the destinations of Parquet and JSON Lines files
    inference      the columns of a new table; moments: ISO 8601 text; dbfile: a file's identity
    arrowfit       a batch as columns of Arrow; arrowvalues: what one value becomes there
    arrowcells, arrowdeclared   columns of Arrow that prove it; columns that a contract declares
    secrets        what a machine file names and only the end that needs it reads
    rejects, rows  the nouns these share
"""
