"""
What is done in a state, as frozen values.

    tasks       a function or a load: Run, Load (watermark: how far a source has come)
    judging     a contract: Validate
    jobs        work that is done elsewhere
    waits       an event, a moment or a dataset: Wait (until: the moment, datasets: the set)
    taskgraph   several, each an instance of its own: Graph, Child (foreach: lists)
    cleanup     what is done when an instance is cancelled
"""
