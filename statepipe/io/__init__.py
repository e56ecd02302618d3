"""
The ends: the only floor that touches data outside the store and the stage.

    files          sources for CSV and JSON Lines, with cursors (lines: positions in bytes)
    rest/          a source for REST APIs (secrets: credentials by reference)
    jsontext       JSON without what Python's parser would take in silence
    arrow          columnar batches
    contract       the shape records must have; what breaks it is rejected with a reason
    destinations   where records are loaded, by the scheme of an address
    sqlite         the SQLite destination: each batch exactly once, by its ledger
    table          the columns it loads into
    loads          what a destination is asked and what it answers
    values         what a record's value becomes in a column
    secrets        what a machine file names and only the end that needs it reads
    rejects, rows  the nouns these share
"""
