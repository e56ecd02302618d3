"""
Destinations of files: a table is a folder, a batch a file in it, the ledger a database beside.

    destination   one table of one folder, for the protocol of `io.exactly_once`
    versions      folders that replace each other in one step
    files         the few operations that durability hangs on
    formats       what a batch is in a file: `jsonl`, `parquet`

    lake/orders/nightly-7.g1.loading.v1.n000000.5f2c9a….parquet
    lake/_statepipe/ledger.db
    lake/_statepipe/orders/…            for a table that is replaced; lake/orders is a link to it
"""
