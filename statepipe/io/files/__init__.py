"""
Reading files, so that it can be killed anywhere and goes on behind its last batch.

    text        read_csv and read_jsonl: records of lines, batch after batch
    parquet     read_parquet: tables of Parquet files
    walk        from file to file, and where in which one a cursor is
    trail       the files that were read before, known again
    lines       the lines of one file, with an exact position
    meaning     what the cells of a column of text mean
    quick, bulk many lines at once, where nothing in them needs care; bulk by Arrow
    unpacking   compressed files; one that is cut is an error
    places      which files a path means, here or elsewhere
    globs       globs that leave nothing out
    found       a file that was found, and one that is open
    remote      object stores and all else by URL; the only module that knows fsspec
"""
