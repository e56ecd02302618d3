"""
`statepipe metrics`: what Prometheus and Grafana need.

    metrics_assets   dashboard, rules, scrape-config: texts that ship with the package
"""

import click

from statepipe.cli.metrics_assets import dashboard, rules, scrape_config


@click.group("metrics")
def metrics() -> None:
    """Watch: dashboards for Grafana, alert rules and a scrape configuration for Prometheus."""


for _command in (dashboard, rules, scrape_config):
    metrics.add_command(_command)
