"""
What a machine is and what it allows; pure: no clock, no store, no task is run here.

    definition  the frozen values: Machine, State, Transition (names: their checks)
    tasks       what runs in a state: Run, Load (judging: Validate, waits: Wait)
    taskgraph   what runs in a state as instances of their own: Graph, Child (foreach: lists)
    taskplan    what a graph does next
    taskmachine the machine that each of its tasks becomes
    parameter   what a machine declares: Param
    partition   how its input falls into slices, an instance each
    loader      a TOML file as a Machine; finding and listing files (reading: its values,
                tasktables, graphtables: its tasks)
    params      the parameters of one instance, typed (scalars: the types)
    guards      the expression language of `when` (operations: what it computes)
    table       state + event + facts -> target, compiled by `transitions`
    checker     the proofs that need the whole graph (paths: who reaches whom, graphchecks,
                childchecks: of tasks and child machines, findings: what is found)
    digest      is it still the machine an instance began with, and what changed
    reentry     where rejected records enter again
    filling     parameters of an instance in a text
    alerts      who is told of what its instances do
    graph       Mermaid and DOT
"""
