"""
Remembering: the only floor that speaks SQL to the checkpoint store.

    connection  open it, and the one way to write
    place       where a store may lie
    schema      its tables                      wal        its log, when it is emptied
    walguard    a lock against an SQLite bug
    committer   the group commit                claims     the right to drive an instance
    workers     who drives, and its lease       liveness   who of them still lives
    resources   slots and rates, for all of them    presence   who may still be using some
    steering    what people do to instances     regrouping to a whole group of them
    groups      how a group stands
    staged      rows about batches and plans    lookup     the engine's few questions
    shapes      rows about sources' shapes
    reading     what people ask                     listing     lists, and bulk resumes
    inspection  one instance, whole                 quarantine  rejected records
    replaying   instances that replay some          replays     who replays what
    copying     instances made of another one       copies      which, and of which
    making      an instance's first rows
    lying       what lies in the stage
    snapshot    what a scrape reads                 metrics     figures, and the journal's
    questions/  what takes more than a look
    health      what `doctor` finds                 disk        around the store's file
    checks      what must hold between the rows
    notices     the outbox                      stalled     whom a dead driver holds

    codec       plain values as bytes           plain      what is plain
    records     batches as bytes                frames     blocks that notice damage
    stage       staged files, whole and durable files      the operations they need
    sweep       files that no row names         stagelock  while files come before rows

What a state means is not known here; `machine/` knows, and the walk joins the two.
"""
