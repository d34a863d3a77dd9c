"""A deterministic simulation that attacks the pipeline: one seed, one schedule, one process, no real time.

Producers, batchers, identities, the Lambda handler, the fenced sink and the event source mapping's decisions are the
real code. Around them is a world in memory that obeys AWS's rules and breaks everything that AWS allows to break.
From the inside out::

    schedule     virtual time, and a pause that lets everything else go on
    plan         what a seed draws: faults and their rates, sizes, configuration
    definition   the pipeline that is attacked, its events, and poison of every kind
    stream       the in-process Kinesis, through the ports of producers, mapping and function
    table        DynamoDB and the quarantine, with their faults
    function     sandboxes, invocations, and how they end
    mapping      the driver of the event source mapping
    collector    the real collector: in sandboxes beside a table of keys (collector_function), over a spool (collector_server)
    collected    clients that send to it by HTTP, and what each of their batches may count
    traffic      producers, clients, strangers and operators at work
    tally, oracle   what should be there: one naive pass; and the checks after every write
    world        all of it, for one seed
    shrink       the smallest world that still fails

``python -m simulation --seeds 1000`` runs it; docs/simulation.md explains it.
"""
