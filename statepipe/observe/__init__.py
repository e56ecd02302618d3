"""
Watching: what tells people, and their Prometheus and Grafana, how the machines do.

    catalogue   every metric: name, kind, labels, help, unit
"""
