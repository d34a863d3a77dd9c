"""Provisioned capacity of the table in place of on demand: how much, what it costs, and whether it pays. Pure.

A batch's writes come at once; what the table left unused within five minutes carries such a burst.
"""

import math
from dataclasses import dataclass

from infra.aws.cost.flow import Flow
from infra.aws.cost.model import HOURS_A_MONTH, Bill
from infra.aws.cost.prices import PriceTable

USE = 0.7  # what the template's scaling aims at
_SEEN_S = 60  # scaling looks at two minutes in a row: it does not see what is written less often than each
# Source: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/AutoScaling.html (2026-11-28)


@dataclass(frozen=True, slots=True)
class Capacity:
    """The least capacity that the table should have, what it costs a month, and what on demand costs.

    ``pays`` where it is cheaper, and would be if it stood at the peak's all the time: scaling down is slow.
    """

    write_units: int
    read_units: int
    usd: float
    on_demand_usd: float
    pays: bool

    @property
    def parameters(self) -> dict[str, int]:
        """The parameters of infra/template/template.yaml; none where it does not pay."""
        return {"WriteCapacity": self.write_units, "ReadCapacity": self.read_units} if self.pays else {}


def capacity_of(flow: Flow, prices: PriceTable, *, peak: float, on_demand: Bill) -> Capacity:
    """Return the capacity for *flow*, whose highest load is *peak* times its average; *on_demand* is what it costs now.

    It is that of the average, from which the table is scaled; of the peak where scaling would not see it come.
    """
    asked_usd = on_demand.usd_of("DynamoDB", "writes") + on_demand.usd_of("DynamoDB", "reads")
    write_units, read_units = _units(flow, 1.0 if round(flow.batch_s) <= _SEEN_S else peak)
    return Capacity(
        write_units,
        read_units,
        _usd(write_units, read_units, prices),
        asked_usd,
        pays=_usd(*_units(flow, peak), prices) < asked_usd,
    )


def _units(flow: Flow, times: float) -> tuple[int, int]:
    writes, reads = (
        max(1, math.ceil(each * times / USE)) for each in (flow.write_units_per_s, flow.read_units_per_s)
    )
    return writes, reads


def _usd(write_units: int, read_units: int, prices: PriceTable) -> float:
    writes, reads = (prices.usd(f"dynamodb_{each}_capacity_hour") for each in ("write", "read"))
    return HOURS_A_MONTH * (write_units * writes + read_units * reads)
