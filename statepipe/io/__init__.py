"""
The ends: the only floor that touches data outside the store and the stage.

    files          sources for CSV and JSON Lines, with cursors
    contract       the shape records must have; what breaks it is rejected with a reason
    destinations   where records are loaded, by the scheme of an address
    sqlite         the SQLite destination: each batch exactly once, by its ledger
    loads          what a destination is asked and what it answers
    values         what a record's value becomes in a column
    rejects, rows  the nouns these share
"""
