"""
What a machine is and what it allows; pure: no clock, no store, no task is run here.

    definition  the frozen values: Machine, State, Transition (names: their checks)
    states/     what is done in a state, as frozen values
    triggers/   what starts instances
    loading/    files of TOML as machines (reading: their values)
    checks/     the proofs that need a whole machine (paths: who reaches whom)
    taskplan    what a graph of tasks does next
    taskmachine the machine that each of its tasks becomes
    uses        what its states use of declared resources
    parameter   what a machine declares: Param
    params      the parameters of one instance, typed (scalars: the types)
    partition   how its input falls into slices, an instance each
    events      what is said of events: EventRule (callbacks: who may return a token)
    guards      the expression language of `when` (operations: what it computes)
    table       state + event + facts -> target, compiled by `transitions`
    digest      is it still the machine an instance began with, and what changed
    reentry     where rejected records enter again
    alerts      who is told of what its instances do
    graph       Mermaid and DOT
"""
