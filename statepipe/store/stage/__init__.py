"""
Staged batches: immutable files or small blobs between one task and the next.

    directory       the files, whole and durable before any row names them
    rows            the rows that name them
    records, frames     what is in them
    lock, sweep     what nobody needs any more
"""
