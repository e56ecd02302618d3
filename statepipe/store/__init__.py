"""
Remembering: the only floor that speaks SQL to the checkpoint store.

    file/       where the store lies, how it is opened, made, raised and written to
    walk/       what the walk writes: the right to drive, and the group commit
    steering/   what people do to instances         triggers/   what starts them by itself
    stage/      staged batches: files, and the rows that name them
    lookups/    what is looked up                   questions/  what takes more than a look
    metrics/    figures, written with what they count, and worked out again
    care/       what is checked, and what is let go

    reading     what programs and people may ask    snapshot    what a scrape reads
    liveness    which workers still live
    codec       plain values as bytes               plain       what is plain
    tokens      what lets an outside system call back

What a state means is not known here; `machine/` knows, and the walk joins the two.
"""
