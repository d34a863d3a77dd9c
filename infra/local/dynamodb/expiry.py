"""Time to live: items that expired are deleted, a bounded number at once.

Source: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/TTL.html ("within a few days"; ours within a
minute), howitworks-ttl.html: items whose time lies more than five years back are kept (checked 2026-11-28).
"""

from infra.local.dynamodb.store import Store

SWEEP_S = 15.0
BATCH = 500  # items a transaction: requests come between
_FIVE_YEARS_S = 5 * 365 * 86_400


def sweep(store: Store, *, now_s: int, batches: int = 2_000) -> int:
    """Delete what expired at *now_s* or before, up to *batches* times ``BATCH`` items of each table; return how many.

    Requests are served between two batches. What is left is found by the next sweep.
    """
    deleted = 0
    for name in store.names():
        for _ in range(batches):
            with store.transaction():
                table = store.table(name)
                if table is None or table.ttl_attribute is None:
                    break
                gone = store.expire(table, after_s=now_s - _FIVE_YEARS_S, until_s=now_s, limit=BATCH)
            deleted += gone
            if gone < BATCH:
                break
    return deleted
