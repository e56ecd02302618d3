"""
Watching: what tells people, and their Prometheus and Grafana, how the machines do.

    catalogue   every metric: name, kind, labels, help, unit
    shipped     dashboards for Grafana (grafana/), rules and scrape configuration for Prometheus
                (prometheus/), as text to print
    shape       what a machine implies: all its label values
    series      from what stores say to series
    exposition  the series as text, and for prometheus-client
    exporter    one collection of all stores
    listening   connections, and who answers them
    server      the endpoint that is scraped        access      who may scrape
    callbacks   the one that outside systems call back at
    textfile    for node_exporter                   gateway     for a Pushgateway
    redact      secrets, replaced before anything is stored, written or shown
    lines       log lines, one for each fact; log_schema.json describes them
    notices     telling people: what is said, and how it gets to them
    spans       an instance as a trace          otlp        traces to whoever takes OTLP

It is given plain values and reads no store; what it serves it was told.
"""
