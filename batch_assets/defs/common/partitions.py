"""The partitions that all daily assets share.

Assets whose partition definitions differ in anything, a time zone say, cannot be in one job. So
there is one definition for all: the key is the exchange's trade date, and what time it is in
Shanghai or New York is the business of the feed and its schedule.
"""

from datetime import date

import dagster as dg


def build_daily_partitions(first_day: date) -> dg.DailyPartitionsDefinition:
    """Calendar days from `first_day` to today, today included.

    Without the offset the day of the close would only exist on the next day.
    """
    return dg.DailyPartitionsDefinition(
        start_date=first_day.isoformat(), timezone="UTC", end_offset=1
    )
