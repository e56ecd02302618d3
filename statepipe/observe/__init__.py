"""
Watching: what tells people, and their Prometheus and Grafana, how the machines do.

    catalogue   every metric: name, kind, labels, help, unit
    shipped     dashboards for Grafana (grafana/), rules and scrape configuration for Prometheus
                (prometheus/), as text to print
"""
