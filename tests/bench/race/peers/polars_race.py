"""
(c) The same work by polars and ADBC, in an environment of its own: no promise, all in memory.

    python polars_race.py FLIGHTS AIRLINES TO
"""

import sys

import polars as pl

NUMBERS = (
    *("year", "month", "day", "dep_time", "sched_dep_time", "dep_delay", "arr_time"),
    *("sched_arr_time", "arr_delay", "flight", "air_time", "distance", "hour", "minute"),
)
TABLE = """
CREATE TABLE IF NOT EXISTS flights (
    id text PRIMARY KEY, carrier text, airline text, flight bigint, tailnum text, origin text,
    dest text, scheduled_at text, departed_at text, dep_delay_minutes bigint,
    arr_delay_minutes bigint, air_time_minutes bigint, distance_miles bigint,
    speed_mph double precision
)
"""


def made(flights: str, names: str) -> pl.DataFrame:
    """Return what is to be loaded; write the rest down."""
    read = pl.read_csv(flights, null_values="NA", schema_overrides=dict.fromkeys(NUMBERS, pl.Int64))
    read.filter(pl.col("dep_time").is_null()).write_csv("rejected.csv", include_header=False)
    airlines = pl.read_csv(names).rename({"name": "airline"})
    hour = pl.col("time_hour").str.to_datetime("%Y-%m-%dT%H:%M:%SZ", time_unit="us")
    scheduled = hour + pl.duration(minutes="minute")
    departed = scheduled + pl.duration(minutes="dep_delay")
    iso = "%Y-%m-%dT%H:%M:%S+00:00"
    day = pl.format(
        "{}-{}-{}",
        "year",
        pl.col("month").cast(pl.String).str.zfill(2),
        pl.col("day").cast(pl.String).str.zfill(2),
    )
    return (
        read.filter(pl.col("dep_time").is_not_null())
        .join(airlines, on="carrier", how="left", maintain_order="left")
        .select(
            pl.format("{}-{}-{}-{}", day, "carrier", "flight", "origin").alias("id"),
            "carrier",
            "airline",
            "flight",
            "tailnum",
            "origin",
            "dest",
            scheduled.dt.strftime(iso).alias("scheduled_at"),
            departed.dt.strftime(iso).alias("departed_at"),
            pl.col("dep_delay").alias("dep_delay_minutes"),
            pl.col("arr_delay").alias("arr_delay_minutes"),
            pl.col("air_time").alias("air_time_minutes"),
            pl.col("distance").alias("distance_miles"),
            (pl.col("distance") * 60 / pl.col("air_time")).alias("speed_mph"),
        )
    )


def main(flights: str, names: str, to: str) -> None:
    """Ingest into a temporary table and upsert from it, in one transaction."""
    if to.startswith("postgresql://"):
        from adbc_driver_postgresql import dbapi  # noqa: PLC0415  (one of the two)
    else:
        from adbc_driver_sqlite import dbapi  # noqa: PLC0415  (imported where it is there)
    frame = made(flights, names)
    changed = ", ".join(f"{name} = excluded.{name}" for name in frame.columns if name != "id")
    with dbapi.connect(to) as connection, connection.cursor() as cursor:
        cursor.execute(TABLE)
        cursor.adbc_ingest("staged", frame.to_arrow(), mode="create", temporary=True)
        cursor.execute(
            "INSERT INTO flights SELECT * FROM staged WHERE true"
            f" ON CONFLICT (id) DO UPDATE SET {changed}"
        )
        connection.commit()


if __name__ == "__main__":
    main(*sys.argv[1:])
